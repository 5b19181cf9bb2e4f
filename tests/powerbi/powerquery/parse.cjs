// Standard input: M by name, as JSON. Standard output: by name null, or what the parser says against it.
const { DefaultSettings, TaskUtils } = require("@microsoft/powerquery-parser");
const queries = JSON.parse(require("fs").readFileSync(0, "utf8"));
(async () => {
  const answers = {};
  for (const [name, text] of Object.entries(queries)) {
    const task = await TaskUtils.tryLexParse(DefaultSettings, text);
    answers[name] = TaskUtils.isParseStageOk(task) ? null : task.error.message;
  }
  process.stdout.write(JSON.stringify(answers));
})();
