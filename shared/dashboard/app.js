// Keeps the page up to date: what it requests and when, and the actions of the user. The address selects the view.

import { ask, hasKey, now, useKey } from "./ask.js";
import { show, h } from "./elements.js";
import { sinks } from "./sinks.js";
import * as views from "./views.js";
import { age, isOver, percent } from "./words.js";

const SLOW = 20_000; // milliseconds between two requests for the list, health, and runs that are over
const SOON = 5_000; // milliseconds before a failed request is repeated
const RUNS = "api/runs?limit=25";
const QUARANTINE = "api/quarantine";
const SINKS = "api/sinks";

const answers = new Map(); // path -> {body, etag, at, due, problem, failing: {from, status, why}}
const books = new Map(); // path of a list -> the cursors of its pages, up to the one that is shown
// Requests of this tab that a tick may not have handled yet. A cancel or a further round: run -> its round at the request.
const asked = { runs: new Set(), cancels: new Map(), rounds: new Map() };
let timer = 0;
let news = 0;
let locked = false; // a key is required: only health is requested until there is one

const find = (id) => document.getElementById(id);
const view = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const body = (path) => answers.get(path)?.body;
const health = () => (locked ? "api/health" : "api/schedule"); // the first has no details, and needs no key
const runPath = (run) => `api/runs/${encodeURIComponent(run)}`;
const listed = (id) => (body(page(RUNS)) ?? body(RUNS))?.items.find((run) => run.id === id);
const runOf = (id) => body(runPath(id)) ?? listed(id);
const waits = (run) => isOver(run) && asked.rounds.get(run.id) === run.round; // for a tick to reopen it

/** The path of the page of a list that is shown. */
function page(list) {
  const cursor = books.get(list)?.at(-1);
  return cursor ? `${list}${list.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(cursor)}` : list;
}

function detailPaths({ run, reason, chunk }) {
  const base = runPath(run);
  return {
    chunks: `${base}/chunks?limit=50`,
    models: reason && `${base}/failures/${encodeURIComponent(reason)}`,
    log: chunk && `${base}/logs/${encodeURIComponent(chunk)}`,
  };
}

/** Runs that are open by the newest list, and those that were requested in this tab. */
function openRuns() {
  const open = body(RUNS)?.items.filter((run) => !isOver(run)).map((run) => run.id) ?? [];
  return [...new Set([...asked.runs, ...open])].filter((id) => !(runOf(id) && isOver(runOf(id))));
}

/** The requests of the present view: path -> milliseconds until it is repeated. */
function wanted() {
  const paths = new Map([[health(), SLOW]]);
  if (locked) return paths;
  for (const path of [RUNS, page(RUNS), ...openRuns().map(runPath)]) paths.set(path, SLOW);
  const shown = view();
  if (!shown.run) return paths.set(QUARANTINE, SLOW).set(SINKS, body(SINKS)?.length === 0 ? 30 * SLOW : SLOW);
  const run = runOf(shown.run);
  paths.set(runPath(shown.run), run && waits(run) ? SOON : SLOW);
  if (!run || run.phase === "requested" || run.phase === "missed") return paths;
  const { chunks, models, log } = detailPaths(shown);
  const often = isOver(run) ? Infinity : SLOW;
  paths.set(page(chunks), often);
  if (models) paths.set(page(models), 3 * often); // reads blobs, and so does the log
  if (log) paths.set(log, 3 * often);
  return paths;
}

/** Send the requests that are due, show the answers, and continue when the next is due. A hidden tab sends none. */
async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  const due = [...wanted()].filter(([path]) => (answers.get(path)?.due ?? 0) <= Date.now());
  await Promise.all(due.map(([path, period]) => learn(path, period)));
  const next = Math.min(SLOW, ...[...wanted().keys()].map((path) => (answers.get(path)?.due ?? 0) - Date.now()));
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, Math.max(0, next));
  render();
}

async function learn(path, period) {
  const known = answers.get(path) ?? {};
  answers.set(path, { ...known, due: Infinity }); // the request is open
  const told = await ask(path, { etag: known.etag });
  const due = Date.now() + period;
  if (told.status === 304) {
    answers.set(path, { ...known, failing: null, at: now(), due: Date.now() + known.period });
  } else if (told.problem === undefined) {
    const again = told.retryAfter ? told.retryAfter * 1000 : period;
    answers.set(path, { body: told.body, etag: told.etag, at: now(), period: again, due: Date.now() + again });
    if (told.body.id) moved(path, known.body ?? listed(told.body.id), told.body);
  } else if ([0, 401, 403].includes(told.status) || told.status >= 500) {
    const from = known.failing?.from ?? now();
    answers.set(path, { ...known, failing: { from, status: told.status, why: told.problem }, due: Date.now() + SOON });
    if (told.status === 401) lock(told.problem);
  } else {
    answers.set(path, { problem: told.problem, at: now(), due }); // an answer too: it does not exist
  }
}

/** When a run has entered another phase or round, the list and its details are requested again. */
function moved(path, before, run) {
  if (before && (before.phase !== run.phase || before.round !== run.round)) askAgain((other) => other === RUNS || other.startsWith(`${path}/`));
}

function askAgain(which) {
  for (const [path, answer] of answers) if (which(path)) answer.due = 0;
}

// Showing

function render() {
  const shown = view();
  const failing = troubled();
  document.body.classList.toggle("old", Boolean(failing?.toldAt));
  show(find("health"), views.health(body(health())));
  show(find("outage"), views.outage(failing));
  show(find("paused"), views.paused(body(health())));
  show(find("main"), ...(shown.run ? runView(shown) : shown.quarantine ? quarantineView() : overview()));
  const open = openRuns().map(runOf).find((run) => run?.models.total);
  document.title = [failing && "No answer", open && percent(open.progress), "fleetscore"].filter(Boolean).join(" · ");
}

/** The longest outage of the present view, and the time of the oldest data that is still visible. */
function troubled() {
  const failing = [...wanted().keys()].concat(locked ? [...answers.keys()] : [])
    .map((path) => answers.get(path)).filter((answer) => answer?.failing);
  if (!failing.length) return null;
  const first = failing.reduce((a, b) => (b.failing.from < a.failing.from ? b : a));
  const told = failing.filter((answer) => answer.at).map((answer) => answer.at);
  return { ...first.failing, toldAt: told.length ? Math.min(...told) : null };
}

function overview() {
  const open = openRuns().map(runOf).filter(Boolean);
  const cards = open.map((run) => card(run));
  return [
    h("section", { id: "open", "aria-label": "Open runs" },
      cards.length ? cards : body(RUNS)?.items.length ? h("p", { class: "quiet" }, "No run is open.") : null),
    sinks(body(SINKS)),
    views.quarantined(body(QUARANTINE)),
    h("section", { id: "runs", "aria-label": "Runs" },
      views.runs(body(page(RUNS)), body(health())), pager(RUNS, ["Newer", "Older"])),
  ];
}

const back = () => h("p", { id: "back" }, h("a", { href: "#" }, "← All runs"));
const quarantineView = () => [back(), views.quarantine(body(QUARANTINE), answers.get(QUARANTINE)?.problem)];
const card = (run, chosen) => views.card(run, {
  cancels: asked.cancels.get(run.id) === run.round, waits: waits(run), chosen,
});

function runView(shown) {
  const run = runOf(shown.run);
  if (!run) return [back(), h("p", { id: "none" }, answers.get(runPath(shown.run))?.problem ?? "Loading…")];
  const top = [back(), card(run, shown.reason)];
  if (run.phase === "requested" || run.phase === "missed") return top;
  const { chunks, models, log } = detailPaths(shown);
  const parts = (path) => [body(path), answers.get(path)?.problem];
  return [
    ...top,
    models ? views.models(shown.reason, ...parts(page(models)), pager(models, ["Back", "More"])) : null,
    views.chunks(run.id, ...parts(page(chunks)), pager(chunks, ["Back", "More"]), shown.chunk),
    log ? views.log(shown.chunk, ...parts(log)) : null,
  ];
}

function pager(list, words) {
  return views.pager(list, body(page(list)), !books.get(list)?.length, words);
}

/** Show the result of an action; a success disappears after a while. */
function tell(text, bad = false) {
  show(find("told"), h("p", { class: bad ? "banner bad" : "banner" }, text));
  clearTimeout(news);
  if (!bad) news = setTimeout(() => show(find("told")), SLOW);
}

// Doing

const deeds = {
  score: () => open("score"),
  key: () => open("key"),
  cancel: ({ run }) => open("cancel", run),
  reprocess: ({ run }) => open("reprocess", run),
  redrive: ({ run }) => again(run, "redrive"),
  async resume() {
    const told = await ask("api/schedule/resume", { method: "POST" });
    if (told.problem !== undefined) return tell(refusal(told), true);
    tell("The schedule resumes with the next tick.");
    askAgain((path) => path === health());
    return look();
  },
  turn({ book, turn }) {
    const cursors = books.get(book) ?? [];
    books.set(book, turn === "on" ? [...cursors, body(page(book)).next] : cursors.slice(0, -1));
    render();
    look();
  },
};

const forms = {
  async score({ window }) {
    const body = window.trim() ? { window: window.trim() } : {};
    const told = await ask("api/runs", { method: "POST", body });
    if (told.problem !== undefined) return tell(refusal(told), true);
    const run = told.body;
    asked.runs.add(run.id);
    tell(told.status === 202 ? `Run ${run.id} requested.` : `The window already has a run: ${run.id}, ${run.phase}.`);
    location.hash = views.link({ run: run.id });
    return look();
  },
  async cancel() {
    const { run } = find("cancel").dataset;
    const told = await ask(`${runPath(run)}/cancel`, { method: "POST" });
    if (told.problem !== undefined) return tell(refusal(told), true);
    if (told.status === 202) asked.cancels.set(run, told.body.round);
    tell(told.status === 202 ? `Cancel of ${run} requested; it starts with the next tick.` : `${run} is already over.`);
    askAgain((path) => path === runPath(run));
    return look();
  },
  reprocess: () => again(find("reprocess").dataset.run, "reprocess"),
  key({ key }) {
    useKey(key);
    locked = false;
    askAgain((path) => answers.get(path).failing);
    return look();
  },
};

/** Request a further round of a run that is over. */
async function again(run, kind) {
  const told = await ask(`${runPath(run)}/${kind}`, { method: "POST" });
  if (told.problem !== undefined) return tell(refusal(told), true);
  if (told.status === 202) asked.rounds.set(run, told.body.round);
  tell(told.status === 202 ? `A ${kind} of ${run} is requested; it starts with the next tick that has room.`
    : `Nothing to do: ${run} is ${told.body.phase}.`);
  askAgain((path) => path === runPath(run));
  return look();
}

function refusal({ status, problem }) {
  if (status === 401) lock(problem);
  if (status === 403 && hasKey()) lock(problem, true);
  return status === 0 ? `The app does not answer: ${problem}. The request may have been accepted or not; it is safe to repeat it.` : problem;
}

/** Ask for a key. *Reading* continues if only an operator's key is missing. */
function lock(why, reading = false) {
  const before = locked;
  locked = locked || !reading;
  find("key-why").textContent = why;
  if (!before) open("key");
}

/** Show a dialog, about a run where it asks about one. */
function open(id, run) {
  const dialog = find(id);
  if (dialog.open) return;
  if (run) find(`${id}-run`).textContent = dialog.dataset.run = run;
  dialog.querySelector("form").reset();
  dialog.returnValue = "no"; // Escape changes nothing
  show(find("told"));
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) deeds[button.dataset.do](button.dataset);
});

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => {
    const values = Object.fromEntries(new FormData(dialog.querySelector("form")));
    if (dialog.returnValue === "yes") forms[dialog.id](values);
  });
}

window.addEventListener("hashchange", (event) => {
  const shown = view();
  const before = new URLSearchParams(new URL(event.oldURL).hash.slice(1)).get("run");
  render();
  const title = shown.chunk ? "log-title" : shown.reason ? "models-title" : `title-${shown.run}`;
  (find(title) ?? find(`run-${before}`)?.querySelector("a") ?? find("main")).focus();
  look();
});

document.addEventListener("visibilitychange", look);

setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = age(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);

render();
look();
