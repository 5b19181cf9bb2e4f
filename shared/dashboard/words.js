// Values -> text. Instants are shown in UTC with the local time in the title; ages by the app's clock.

import { now } from "./ask.js";
import { h } from "./elements.js";

const OVER = new Set(["succeeded", "partial", "failed", "cancelled", "missed"]);
const DAY = 86_400;

export const isOver = (run) => OVER.has(run.phase);

export const count = (number) => number.toLocaleString("en");

/** A number with five digits: `0.25`, `1234.5`, `1e+308`. */
export const measure = (number) => String(Number(number.toPrecision(5)));

export const percent = (share) => `${Math.floor(share * 100)} %`; // 100 % only when it is all

export function rate(perSecond) {
  if (perSecond >= 10) return `${count(Math.round(perSecond))} models/s`;
  if (perSecond >= 0.5) return `${perSecond.toFixed(1)} models/s`;
  return `${(perSecond * 60).toFixed(1)} models/min`;
}

/** `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < DAY) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / DAY)} d ${Math.floor((s % DAY) / 3600)} h`;
}

/** The age of an instant; after the first minute in whole minutes, so that the page changes less often. */
export function age(instant) {
  const seconds = Math.round((now() - Date.parse(instant)) / 1000);
  const far = Math.abs(seconds);
  const text = far < 60 || far >= 3600 ? duration(far) : `${Math.floor(far / 60)} min`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

const day = (iso) => iso.slice(0, 10);
const clock = (iso, digits) => iso.slice(11, 11 + digits);
const utc = (instant) => new Date(instant).toISOString();

function local(instant) {
  return new Date(instant).toLocaleString(undefined, {
    weekday: "short", year: "numeric", month: "short", day: "numeric",
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });
}

/** An instant, with its day where that is not today. */
export function at(instant) {
  const iso = utc(instant);
  const text = day(iso) === day(utc(now())) ? clock(iso, 8) : `${day(iso)} ${clock(iso, 8)}`;
  return h("time", { datetime: iso, title: local(instant) }, `${text} UTC`);
}

/** The age of an instant; the page keeps it up to date. */
export function since(instant) {
  const iso = utc(instant);
  return h("time", { datetime: iso, title: `${iso} · ${local(instant)}`, "data-age": true }, age(iso));
}

/** A window: `2026-11-21 11:00 – 12:00`; the last hour of a day ends at 24:00. */
export function span(window) {
  const [start, end, last] = [window.start, window.end, Date.parse(window.end) - 1].map(utc);
  const title = `${local(window.start)} – ${local(window.end)}`;
  const until = day(start) !== day(last) ? [h("wbr"), `${day(end)} ${clock(end, 5)}`]
    : [day(start) === day(end) ? clock(end, 5) : "24:00"];
  return h("time", { datetime: start, title }, `${day(start)} ${clock(start, 5)} – `, ...until);
}

/** How long a run took, or has taken so far. */
export function took(run) {
  const end = run.ended_at ? Date.parse(run.ended_at) : now();
  return duration((end - Date.parse(run.opened_at)) / 1000);
}
