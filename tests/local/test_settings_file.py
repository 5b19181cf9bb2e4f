"""The settings file of an app: what is read of it, and what a host would refuse."""

from pathlib import Path

import pytest

from local.settings_file import read_settings
from shared.contract.errors import Malformed

SETTINGS_REFUSED = [
    ("{", "expected JSON in"),
    ("[]", "expected a JSON object in"),
    ("{}", 'expected "IsEncrypted": false in'),
    ('{"IsEncrypted": true, "Values": {}}', "got true"),
    ('{"IsEncrypted": false}', 'expected an object of settings as "Values"'),
    ('{"IsEncrypted": false, "Values": {"A": "1", "B": 2, "C": null}}', 'expected text in quotes as "B"'),
    ('{"IsEncrypted": false, "Values": {"A": "1", "B": 2, "C": null}}', 'expected text in quotes as "C"'),
]


@pytest.mark.parametrize(("text", "said"), SETTINGS_REFUSED)
def test_a_settings_file_that_a_host_would_refuse_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "local.settings.json").write_text(text)
    with pytest.raises(Malformed) as caught:
        read_settings(tmp_path / "local.settings.json")
    assert said in str(caught.value)
    assert str(tmp_path / "local.settings.json") in str(caught.value)


def test_a_settings_file_gives_its_values(tmp_path: Path) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text('\ufeff{"IsEncrypted": false, "Values": {"A": "1"}, "Host": {"LocalHttpPort": 7071}}')
    assert read_settings(path) == {"A": "1"}
