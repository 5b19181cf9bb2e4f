#!/usr/bin/env bash
# What is done: a frame of two hourly scores is turned into line protocol by the
#   DataFrameClient of the "influxdb" package. A small HTTP server on this
#   computer stands for the database and keeps the text that it is sent. This is
#   done with pandas 2 and with pandas 3, with the same code.
# Packages: influxdb 5.3.2, pandas 2.3.3, then pandas 3.1.1
# A good guess: the same bytes, or an error. pip finds no conflict.
# What is seen: under pandas 3 the client sends microseconds where the server
#   reads nanoseconds: 10:00 on 1 January 2024 arrives as 20 January 1970. With
#   time_precision="s" it sends 1704103, and the server reads 20 January 1970,
#   too. write_points returns True.
# Output seen:
#   pandas 2.3.3: score value=1.5 1704103200000000000 -> 2024-01-01 10:00:00 | with seconds: 1704103200 | returned True
#   pandas 3.1.1: score value=1.5 1704103200000000 -> 1970-01-20 17:21:43 | with seconds: 1704103 | returned True
# Why it matters: an update of pandas moves all published scores to 1970. A
#   retention rule deletes them at once, and a chart of "now" stays empty.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
cat > "$tmp/run.py" <<'P'
import http.server
import threading
from datetime import datetime, timezone

import pandas as pd
from influxdb import DataFrameClient

kept = []


class Database(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        kept.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Database)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = DataFrameClient("127.0.0.1", server.server_port, database="fleet", gzip=False)
frame = pd.DataFrame({"value": [1.5, 2.5]},
                     index=pd.date_range("2024-01-01 10:00:00", periods=2, freq="h"))
done = client.write_points(frame, "score")
client.write_points(frame, "score", time_precision="s")
line = kept[0].decode().splitlines()[0]
stamp = int(line.rsplit(" ", 1)[1])
seconds = int(kept[1].decode().splitlines()[0].rsplit(" ", 1)[1])
when = datetime.fromtimestamp(stamp // 10**9, timezone.utc).replace(tzinfo=None)
print(f"pandas {pd.__version__}: {line} -> {when} | with seconds: {seconds} | returned {done}")
P
"$tmp/v/bin/pip" install -q --disable-pip-version-check influxdb==5.3.2 pandas==2.3.3 setuptools==80.9.0
old=$("$tmp/v/bin/python" -W ignore "$tmp/run.py")
"$tmp/v/bin/pip" install -q --disable-pip-version-check pandas==3.1.1
new=$("$tmp/v/bin/python" -W ignore "$tmp/run.py")
echo "$old"
echo "$new"
if [[ $old == *"1704103200000000000 -> 2024-01-01 10:00:00"* && $new == *" 1704103200000000 -> 1970-01-20"*"with seconds: 1704103 |"* ]]; then
    echo "surprise still there"
else
    echo "behaviour changed"; exit 1
fi
