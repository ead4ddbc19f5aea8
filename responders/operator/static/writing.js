// How numbers, times and durations are written, in the language of the page.
export const texts = JSON.parse(document.getElementById("texts").textContent);

const language = document.documentElement.lang;
const ZONE = "Asia/Taipei";
const clock = new Intl.DateTimeFormat(language, { timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat(language, { timeZone: ZONE, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(language, { timeZone: ZONE, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const whole = new Intl.NumberFormat(language);

export const NONE = "–";

/** Put values into a text, each in the place of the next {}. */
export function fill(text, ...values) {
  return values.reduce((filled, value) => filled.replace("{}", () => value), text);
}

export const count = number => whole.format(number);

/** Three significant digits, for rates and milliseconds. */
export function measure(number) {
  if (number === null || number === undefined) return NONE;
  const digits = Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : Math.abs(number) >= 1 || number === 0 ? 2 : 3;
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(number);
}

/** A number of milliseconds; from a second on in seconds. */
export function milliseconds(number) {
  if (number === null || number === undefined) return NONE;
  return number < 1000 ? `${measure(number)} ms` : `${measure(number / 1000)} s`;
}

/** A length of time in its two largest units. */
export function duration(seconds) {
  const { units } = texts, left = Math.max(0, Math.round(seconds));
  const parts = [[units.days, Math.floor(left / 86400)], [units.hours, Math.floor(left / 3600) % 24],
    [units.minutes, Math.floor(left / 60) % 60], [units.seconds, left % 60]];
  const first = parts.findIndex(([, number]) => number > 0);
  if (first < 0) return fill(units.seconds, "0");
  return parts.slice(first, first + 2).filter(([, number]) => number > 0).map(([unit, number]) => fill(unit, number)).join(" ");
}

export const clockTime = seconds => clock.format(seconds * 1000);
export const minuteTime = seconds => minutes.format(seconds * 1000);
export const dayTime = seconds => day.format(seconds * 1000);

export function octets(number) {
  if (number === null) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const place = number < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(number) / 3));
  return `${measure(number / 1000 ** place)} ${units[place]}`;
}
