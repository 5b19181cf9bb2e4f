// What sinks lack and hold -> elements. Sends no requests, keeps no state.

import { h } from "./elements.js";
import { at, count } from "./words.js";

const NAMES = { delta: "Delta table", sql: "SQL table", events: "Events" };

export const nameOf = (sink) => NAMES[sink] ?? sink;

const toRun = (run) => h("a", { href: `#${new URLSearchParams({ run })}` }, run);
const reason = ({ reason: code, message }) => [code && h("code", {}, code), code && message ? ": " : "", message];

/** A line for each sink: what it lacks, or the newest run that it has. */
export function sinks(all) {
  if (!all?.length) return null;
  return h("section", { id: "sinks", "aria-label": "Sinks" }, all.map((sink) => h("p", { class: sink.overdue && "problem" },
    h("strong", {}, nameOf(sink.sink)), ": ", sink.open ? lacking(sink) : holding(sink),
    sink.failures > 0 && [`. The last ${sink.failures === 1 ? "job" : `${count(sink.failures)} jobs`} left no report: ${sink.message}`,
      sink.next_job && [", the next begins at ", at(sink.next_job)]],
    sink.asked.length > 0 && ". Earlier runs are being requested")));
}

function lacking({ open, oldest, job }) {
  return [open === 1 ? "1 run waits, " : `${count(open)} runs wait, the oldest `, toRun(oldest.run), " since ", at(oldest.asked_at),
    oldest.reason && [": ", ...reason(oldest)].flat(), job && `; job ${count(job.number)} is ${job.state}`].flat();
}

const holding = ({ newest }) => (newest ? ["all runs are published, the newest is ", toRun(newest.run)] : ["no run is published yet"]);

/** A run at a sink, in a few words. */
export function published(entry) {
  const rows = (n) => `${count(n)} ${n === 1 ? "row" : "rows"}`;
  if (entry.state === "done") return entry.removal ? "removed" : `published, ${rows(entry.rows)}`;
  const held = entry.published_round === null ? "" : `; it has round ${count(entry.published_round)}, ${rows(entry.rows)}`;
  const state = entry.state === "running" ? "is being published" : ["waits since ", at(entry.asked_at)];
  return [state, entry.reason && [": ", ...reason(entry)], entry.next_try && [", next try at ", at(entry.next_try)], held].flat(2);
}
