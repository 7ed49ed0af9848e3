/** Numbers of a training to words, and to points of a curve. */

/** The first number is the step. @typedef {(number | null)[]} LivePoint */

/** What the server calls a state -> what people call it. @type {Record<string, string>} */
export const LIVE_STATES = {
  preparing: "Preparing",
  training: "Training",
  paused: "Paused",
  saving: "Saving",
  scoring: "Scoring",
  done: "Trained",
  stopped: "Stopped",
};

const LIVE_MOST = 1500; // points of a curve that are kept

/** Seconds as people say them: 8 s, 3:05, 1:02:09. @param {number} seconds */
export function liveDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** @param {number | null} bytes */
export function liveMemory(bytes) {
  if (bytes === null) return "–";
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/**
 * Every second point, and the last, while there are too many.
 * @param {LivePoint[]} points @param {number} [most] @returns {LivePoint[]}
 */
export function thinned(points, most = LIVE_MOST) {
  if (points.length <= most) return points;
  return thinned(
    points.filter((_, index) => index % 2 === 0 || index === points.length - 1),
    most,
  );
}

/**
 * [step, mean of a column over so many points up to there]: single photos are easy or hard.
 * @param {LivePoint[]} points @param {number} column @param {number} count @returns {LivePoint[]}
 */
export function smoothed(points, column, count) {
  let [sum, known] = [0, 0];
  const values = points.map((point) => point[column] ?? null);
  return points.map((point, index) => {
    const [come, gone] = [values[index], index >= count ? values[index - count] : null];
    if (come !== null) [sum, known] = [sum + come, known + 1];
    if (gone !== null) [sum, known] = [sum - gone, known - 1];
    return [point[0], known ? sum / known : null];
  });
}
