// Answers of the app -> elements. Sends no requests, keeps no state. Its terms are those of the API and the glossary.

import { now } from "./ask.js";
import { h } from "./elements.js";
import { nameOf, published } from "./sinks.js";
import { at, count, duration, isOver, measure, percent, rate, since, span, took } from "./words.js";

/** The address of a view within the page. */
export const link = (parts) => `#${new URLSearchParams(parts)}`;

const badge = (word) => h("span", { class: `badge ${word}` }, word.replaceAll("_", " "));
const number = (value, label) => h("td", { role: "cell", class: "number", "data-label": label }, count(value));
const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, ...children);
const fact = (name, ...values) => h("div", {}, h("dt", {}, name), h("dd", {}, ...values));

const NUMBERS = new Set(["Models", "Scored", "Failed", "Skipped", "Rows", "Anomalies", "Duration", "Retries", "Losses"]);

/** A table; its roles keep it a table for a screen reader where a phone shows it as cards. */
function table(caption, heads, rows) {
  const head = (text) => h("th", { role: "columnheader", scope: "col", class: NUMBERS.has(text) && "number" }, text);
  return h("table", { role: "table" },
    h("caption", {}, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map(head))),
    h("tbody", { role: "rowgroup" }, rows));
}

const row = (id, ...cells) => h("tr", { role: "row", id }, ...cells);

/** The state of the scheduler. */
export function health(told) {
  if (!told) return h("p", { class: "quiet" }, "Loading the state of the scheduler…");
  const [word, text] = told.ticked_at === null ? ["bad", "Scheduler: not started yet"]
    : told.late ? ["bad", "Scheduler: late"]
      : told.trouble || told.opened_at_limit || told.publishing_overdue ? ["warn", "Scheduler: degraded"] : ["good", "Scheduler: healthy"];
  return h("div", { class: `health ${word}` },
    h("p", {}, h("strong", {}, text), told.ticked_at && [" · last tick ", since(told.ticked_at)],
      " · next window due ", at(told.next_due)),
    told.nodes && h("p", {}, nodes(told.nodes)),
    told.throttled_until && h("p", {}, "The cluster is throttled until ", at(told.throttled_until), "."),
    told.waiting && h("p", {}, `${told.waiting.run} waits for its readings, until `, at(told.waiting.until), " at most."),
    told.opened_at_limit && h("p", {}, `${told.opened_at_limit} waited in vain: its readings may be incomplete.`),
    told.publishing_overdue && h("p", {}, "A sink has lacked a run for more than an hour."),
    told.trouble && h("p", {}, "Error in the last tick: ", told.trouble));
}

/** The number of nodes, and their states. */
function nodes({ current, target, states, observed_at: counted }) {
  const doing = Object.entries(states).map(([state, n]) => `${count(n)} ${state}`).join(", ");
  const change = target === current ? "" : `, ${target > current ? "scaling up" : "scaling down"} to ${count(target)}`;
  const text = `${count(current)} ${current === 1 ? "node" : "nodes"}${doing && ` (${doing})`}${change}`;
  return ["Cluster: ", h("strong", {}, text), " · counted ", since(counted)];
}

/** A banner while requests fail. */
export function outage(found) {
  if (!found) return [];
  const head = found.status === 0 ? "The app does not answer" : found.status === 401 ? "A key is required"
    : found.status === 403 ? "Access denied" : "The app reports an error";
  return h("div", { class: "banner bad" },
    h("p", {}, h("strong", {}, head), " since ", at(found.from), `: ${found.why}`),
    h("p", {}, found.toldAt ? ["This page shows data of ", at(found.toldAt), ". "] : "",
      found.status === 401 ? h("button", { type: "button", "data-do": "key" }, "Enter a key…")
        : "Trying again every few seconds."));
}

/** A banner while the schedule is paused. */
export function paused(told) {
  if (!told?.paused_since) return [];
  return h("div", { class: "banner warn" }, h("p", {}, h("strong", {}, "The schedule is paused"), " since ",
    at(told.paused_since), ": no window is opened until it is resumed. "),
  h("button", { type: "button", "data-do": "resume" }, "Resume the schedule"));
}

/** A run in short: its progress, rate and failures. */
export function card(run, { cancels, waits, heading = "h2", chosen }) {
  return h("article", { class: "card", id: `card-${run.id}`, "aria-labelledby": `title-${run.id}` },
    h("div", { class: "title" },
      h(heading, { id: `title-${run.id}`, tabindex: -1 }, h("a", { href: link({ run: run.id }) }, span(run.window), " UTC")),
      badge(run.phase), run.stalled && h("span", { class: "badge stalled" }, "stalled"),
      isOver(run) ? again(run, waits) : cancelling(run, cancels)),
    run.stopped && !isOver(run) && h("p", {}, h("strong", {}, "No further chunk starts: "), h("code", {}, run.stopped)),
    (run.message || run.reason) && h("p", {}, why(run)),
    advice(run),
    run.phase === "requested" ? h("p", {}, "Requested; it starts with the next tick that has room.")
      : run.phase === "missed" ? null : [bar(run), legend(run.models)],
    facts(run),
    run.failures.length ? failures(run, chosen) : null);
}

/** The actions on a run that is over. */
function again(run, waits) {
  if (run.phase === "missed") return null;
  if (waits) return h("span", { class: "quiet" }, "further round requested; it starts with the next tick");
  const button = (deed, text) => h("button", { type: "button", "data-do": deed, "data-run": run.id }, text);
  const left = !run.models.total || run.models.scored < run.models.total;
  return h("p", { class: "buttons" }, left && [button("redrive", "Redrive"), " "], button("reprocess", "Reprocess…"));
}

function cancelling(run, asked) {
  if (run.cancelled_at) return h("span", { class: "quiet" }, "being cancelled since ", at(run.cancelled_at));
  if (asked) return h("span", { class: "quiet" }, "cancel requested; it starts with the next tick");
  return h("button", { type: "button", "data-do": "cancel", "data-run": run.id }, "Cancel this run…");
}

function why(run) {
  return [run.reason && h("code", {}, run.reason), run.reason && run.message ? ": " : "", run.message];
}

/** What to do about a reason, as the API says it. */
function advice(told) {
  return told.advice ? h("p", { class: "quiet" }, "What to do: ", told.advice) : null;
}

const PARTS = ["scored", "failed", "skipped", "cancelled", "not_attempted"];

/** The models of a run as one bar, by outcome. */
function bar({ phase, models }) {
  if (!models.total) {
    const text = phase === "planning" ? "The fleet is being listed" : "No models";
    return h("div", { class: "bar", role: "progressbar", "aria-label": "Models done", "aria-valuetext": text });
  }
  const ended = PARTS.map((part) => [part, models[part]]).filter(([, n]) => n);
  const text = [`${count(models.done)} of ${count(models.total)} models done`, ...ended.map(([p, n]) => `${count(n)} ${p}`)];
  return h("div", {
    class: "bar", role: "progressbar", "aria-label": "Models done", "aria-valuemin": 0, "aria-valuemax": models.total,
    "aria-valuenow": models.done, "aria-valuetext": text.join(", ").replaceAll("_", " "),
  },
  ended.map(([part, n]) => h("span", { class: part, grow: n })),
  h("span", { class: "under-way", grow: underWay(models) }),
  h("span", { grow: models.total - models.done }));
}

const underWay = (models) => Math.max(0, models.done - (models.total - models.waiting));

function legend(models) {
  if (!models.total) return null;
  const item = (part, n, word) => h("li", { class: part }, h("b", {}, count(n)), ` ${word}`);
  const parts = PARTS.filter((part, i) => i < 3 || models[part]);
  return h("ul", { class: "legend" },
    h("li", { class: "share" }, h("b", {}, percent(models.done / models.total)), ` ${count(models.done)} of ${count(models.total)} models done`),
    parts.map((part) => item(part, models[part], part.replaceAll("_", " "))),
    underWay(models) ? item("under-way", underWay(models), "done in running jobs") : null);
}

function facts(run) {
  const chunks = Object.entries(run.chunks).map(([state, n]) => `${count(n)} ${state}`).join(", ");
  return h("dl", { class: "facts" },
    run.ended_at ? [fact("Ended", at(run.ended_at)), run.phase !== "missed" && fact("Duration", took(run))]
      : [fact(run.phase === "requested" ? "Requested" : "Opened", since(run.opened_at)),
        run.planned_at && fact("Last progress", run.progress_at ? since(run.progress_at) : "none yet"),
        run.expected_end && fact("Expected end", at(run.expected_end))],
    run.models_per_second && fact("Rate", rate(run.models_per_second)),
    run.models.total > 0 && [fact("Rows", rows(run)), detects(run) && fact("Anomalies", count(run.anomalies))],
    run.predicted && predicted(run.predicted),
    chunks && fact("Chunks", chunks),
    run.round > 0 && fact("Round", `${count(run.round)}, ${run.redo}`),
    run.max_in_flight !== null && fact("Jobs at once", `at most ${count(run.max_in_flight)}`),
    run.tolerated_failures !== null && fact("Tolerated failures", `${run.tolerated_failures} %`),
    !isOver(run) && Date.parse(run.throttled_until) > now() && fact("Throttled until", at(run.throttled_until)),
    run.models.ignored > 0 && fact("Ignored files", ignored(run)),
    (run.late?.rows > 0 || run.late?.unread_rows > 0) && fact("Late readings", late(run.late)),
    run.unmodelled?.devices > 0 && fact("Devices without a model", unmodelled(run)),
    run.waited && fact("Waited for readings", run.waited === "complete" ? "until they were complete"
      : "to the limit; they may be incomplete"),
    run.sinks?.map((entry) => fact(nameOf(entry.sink), ...[published(entry)].flat())),
    fact("Triggered by", run.asked_by === "request" ? "API" : run.asked_by),
    run.observed_at && fact("Observed", at(run.observed_at)));
}

/** Whether the run has detectors, as far as it is known: then it has anomalies. */
const detects = (run) => !run.predicted || run.predicted.tasks.detector > 0;

// Rows of predictions; a model with several outputs has several for each row of readings.
function rows(run) {
  const readings = run.predicted?.readings ?? run.rows;
  return [count(run.rows), readings !== run.rows && ` for ${count(readings)} rows of readings`];
}

// What models predicted that are no detectors; of many labels the first, and the others in a tooltip.
function predicted({ tasks, labels, other_labels: others, predictions }) {
  const texts = labels.map((l) => `${l.label}: ${count(l.rows)}`);
  const rest = [...texts.slice(LABELS), ...(others ? [`other labels: ${count(others)}`] : [])];
  return [
    fact("Models by task", Object.entries(tasks).map(([task, n]) => `${count(n)} ${task}${n === 1 ? "" : "s"}`).join(", ")),
    predictions && fact("Predictions", `${count(predictions.rows)}: least ${measure(predictions.least)}, mean ${
      measure(predictions.mean)}, greatest ${measure(predictions.greatest)}`),
    (labels.length > 0 || others > 0) && fact("Rows by label", h("span", { title: rest.length > 0 && rest.join("\n") },
      texts.slice(0, LABELS).join(", "), rest.length > 0 && `, and ${count(hidden(labels, others))} with other labels`)),
  ];
}

const LABELS = 10; // that are shown

/** The rows with labels that are not shown. */
const hidden = (labels, others) => labels.slice(LABELS).reduce((sum, l) => sum + l.rows, others);

// The same in a few words, for a list of runs.
function outcome({ predicted: found }) {
  if (!found) return "";
  const [first] = found.labels;
  return [found.predictions && `mean ${measure(found.predictions.mean)}`, first && `most often ${first.label}`]
    .filter(Boolean).join("; ");
}

// Files beside the models that are no models: how many of each ending, and their names in a tooltip.
function ignored(run) {
  const endings = Object.entries(run.ignored_files.endings).map(([ending, n]) => `${count(n)} ${ending}`).join(", ");
  const more = run.models.ignored - run.ignored_files.examples.length;
  const names = run.ignored_files.examples.join("\n") + (more > 0 ? `\nand ${count(more)} more` : "");
  return h("span", { title: names }, `${count(run.models.ignored)} (no models)`, endings && `: ${endings}`);
}

// Devices that have readings and no model: how many, and their names in a tooltip; not every chunk may count them.
function unmodelled(run) {
  const { devices, examples, chunks } = run.unmodelled;
  const total = Object.values(run.chunks).reduce((sum, n) => sum + n, 0);
  const more = devices - examples.length;
  const names = examples.join("\n") + (more > 0 ? `\nand ${count(more)} more` : "");
  return h("span", { title: names }, `${count(devices)} with readings`,
    chunks < total && ` (in ${count(chunks)} of ${count(total)} chunks)`);
}

// Rows of before the window in its folders: how many, and the names of the devices in a tooltip.
function late({ rows: n, devices, examples, unread_rows: unread }) {
  const more = devices - examples.length;
  const names = examples.join("\n") + (more > 0 ? `\nand ${count(more)} more` : "");
  return [n > 0 && h("span", { title: names }, `${count(n)} of the window before, of ${count(devices)} devices`),
    n > 0 && unread > 0 && "; ", unread > 0 && `${count(unread)} of earlier windows, which no run reads`];
}

function failures(run, chosen) {
  return h("div", { class: "scroll" }, table("Not scored, by reason", ["Reason", "Models", "For example", "Message", "What to do"],
    run.failures.map((f) => row(`failure-${run.id}-${f.reason}`,
      cell("Reason", badge(f.outcome), " ", h("a", {
        href: link({ run: run.id, reason: f.reason }), "aria-current": f.reason === chosen && "true",
      }, f.reason)),
      number(f.models, "Models"), cell("For example", h("code", {}, f.example)), cell("Message", f.message),
      cell("What to do", f.advice)))));
}

/** The list of runs. */
export function runs(page, told) {
  if (!page) return h("p", { class: "quiet" }, "Loading the runs…");
  if (!page.items.length) return empty(told);
  const finds = page.items.some((run) => run.models.total && detects(run));
  const predicts = page.items.some((run) => run.predicted);
  const heads = ["Window (UTC)", "Phase", "Scored", "Failed", "Skipped", "Models", "Rows", finds && "Anomalies",
    predicts && "Predicted", "Duration", "Reason"].filter(Boolean);
  return table("Runs, the newest window first", heads, page.items.map((run) => row(`run-${run.id}`,
    cell("Window", h("a", { href: link({ run: run.id }) }, span(run.window))),
    cell("Phase", badge(run.phase), run.stalled && h("span", { class: "badge stalled" }, "stalled")),
    ...(run.models.total ? ["scored", "failed", "skipped", "total"].map((part) => number(run.models[part], part))
      : ["scored", "failed", "skipped", "total"].map((part) => cell(part, ""))),
    run.models.total ? number(run.rows, "rows") : cell("rows", ""),
    finds && (run.models.total && detects(run) ? number(run.anomalies, "anomalies") : cell("anomalies", "")),
    predicts && cell("predicted", outcome(run)),
    h("td", { role: "cell", class: "number", "data-label": "duration" }, run.models.total ? took(run) : ""),
    cell("Reason", run.reason || run.message ? why(run) : reasons(run)))));
}

function reasons(run) {
  return run.failures.map((f, i) => [i ? ", " : "", h("a", { href: link({ run: run.id, reason: f.reason }) }, f.reason),
    `\u00a0×\u00a0${count(f.models)}`]).flat();
}

function empty(told) {
  const next = told && !told.ticked_at
    ? "The first tick of the scheduler opens the run of the last window that has closed."
    : ["The next window becomes due", told ? [" at ", at(told.next_due)] : "", ", and its run opens with the tick after that."];
  return h("div", { class: "empty" },
    h("p", {}, h("strong", {}, "No runs yet.")),
    h("p", {}, next, " It appears here without a reload. To start earlier, score a window now."));
}

/** The models that were not scored for one reason. */
export function models(reason, page, problem, pager) {
  return section("models", ["Models: ", h("code", {}, reason)], page, problem, (found) => [
    advice(found),
    found.items.length ? h("div", { class: "scroll" }, table("Models", ["Model", "Chunk", "Message"], found.items.map((m) => row(null,
      cell("Model", h("code", {}, m.model)), cell("Chunk", m.chunk), cell("Message", m.message)))))
      : h("p", {}, found.next ? "None in these chunks; the next ones may have some." : "None here."),
    pager]);
}

/** The chunks of a run. */
export function chunks(run, page, problem, pager, chosen) {
  const heads = ["Chunk", "State", "Models", "Scored", "Failed", "Skipped", "Open attempts", "Retries", "Losses", "Last message", "Log"];
  return section("chunks", ["Chunks"], page, problem, (found) => [
    found.items.length ? h("div", { class: "scroll" }, table("Chunks", heads, found.items.map((c) => row(`chunk-${c.id}`,
      cell("Chunk", h("span", { title: `${c.first} … ${c.last}` }, c.id)), cell("State", badge(c.state), " ", h("span", { class: "quiet" }, since(c.since))),
      number(c.models, "Models"), number(c.scored, "Scored"), number(c.failed, "Failed"), number(c.skipped, "Skipped"),
      cell("Attempts", attempts(c)), number(c.retries, "Retries"), number(c.losses, "Losses"), cell("Message", why(c)),
      cell("Log", h("a", {
        href: link({ run, chunk: c.id }), "aria-label": `Log of ${c.id}`, "aria-current": c.id === chosen && "true",
      }, "log"))))))
      : h("p", {}, "None yet: the plan creates them."),
    pager]);
}

function attempts(chunk) {
  return chunk.attempts.map((a) => h("div", { title: a.job },
    `${a.number}: ${a.state}${a.careful ? ", isolated" : ""}, ${count(a.done)} done`,
    a.doubted_since && [", unknown to the cluster since ", at(a.doubted_since)]));
}

/** A link to the models in quarantine, if there are any. */
export function quarantined(found) {
  if (!found?.length) return null;
  const text = found.length === 1 ? "1 model is in quarantine" : `${count(found.length)} models are in quarantine`;
  return h("p", { id: "quarantined" }, h("a", { href: link({ quarantine: "all" }) }, text),
    ": skipped until its file changes, or a person removes it from the quarantine.");
}

/** The models in quarantine. */
export function quarantine(found, problem) {
  return section("quarantine", ["Models in quarantine"], found, problem, (models) => [
    models.length ? h("div", { class: "scroll" }, table("Models in quarantine", ["Model", "Reason", "Message", "Run", "Since", "What to do"],
      models.map((m) => row(null, cell("Model", h("code", {}, m.model)), cell("Reason", m.reason), cell("Message", m.message),
        cell("Run", h("a", { href: link({ run: m.run }) }, m.run)), cell("Since", at(m.since)), cell("What to do", m.advice)))))
      : h("p", {}, "None.")]);
}

/** The output of the newest job of a chunk. */
export function log(chunk, text, problem) {
  return section("log", ["Log of ", h("code", {}, chunk)], text, problem,
    (found) => [h("pre", { tabindex: 0, "aria-label": `Log of ${chunk}` }, found || "(no output)")]);
}

function section(id, title, told, problem, build) {
  const body = problem ? h("p", { class: "problem" }, problem)
    : told === undefined ? h("p", { class: "quiet" }, "Loading…") : build(told);
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h3", { id: `${id}-title`, tabindex: -1 }, ...title), body);
}

/** Buttons to the previous and next page; null if there is only one. */
export function pager(book, page, isFirst, [back, on]) {
  if (isFirst && !page?.next) return null;
  const button = (text, turn, able) => h("button", {
    type: "button", "data-do": "turn", "data-turn": turn, "data-book": book, disabled: !able,
  }, text);
  return h("p", { class: "buttons" }, button(back, "back", !isFirst), " ", button(on, "on", Boolean(page?.next)));
}
