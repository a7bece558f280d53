// Where the segments of a sequence stand on the paper: as much as possible to
// one scale, what would be too small to read drawn taller, what would be too
// tall cut. Of two durations the longer is never drawn the shorter, but where
// FINs cross.

/** @typedef {"scale" | "stretched" | "cut"} Fit */

/** Sizes in px. */
export const sizes = {
  slant: 30, // of an arrow, from its sender to its receiver
  least: 48, // between two segments: the second may answer the first, and there is room for words
  most: 220, // the tallest that is to scale
  cut: 240, // the least of what is cut
  exchange: 110, // the data between opening and closing, where cut
  crossing: 18, // between two FINs that cross
};

/**
 * Places points of time, ascending offsets in ns.
 * @param {{offset: number, ids: string[], answers: string[]}[]} points  as those of a sequence
 * @param {boolean} crossed whether FIN1 and FIN2 crossed
 * @returns {{y: number[], gaps: {fit: Fit, ns: number, height: number, exchange: boolean}[], pxPerNS: number}}
 * `gaps[i]` lies between points i and i + 1, `exchange` tells that data went there;
 * `pxPerNS` is 0 where nothing is to scale.
 */
export function layout(points, crossed = false) {
  const gaps = [];
  for (let i = 1; i < points.length; i++) gaps.push(gapOf(points[i - 1], points[i], crossed));
  const pxPerNS = chooseScale(gaps);
  const y = points.length > 0 ? [0] : [];
  gaps.forEach((gap, i) => {
    gap.height = heightOf(gap, pxPerNS);
    y.push(y[i] + gap.height);
    gap.fit = fitOf(gap.ns * pxPerNS, gap.height);
  });
  return { y, gaps: gaps.map(({ fit, ns, height, exchange }) => ({ fit, ns, height, exchange })), pxPerNS };
}

function gapOf(from, to, crossed) {
  const has = (point, id) => point.ids.includes(id);
  const closing = ["fin1", "ack1", "fin2", "ack2"];
  const exchange =
    !closing.some((id) => has(from, id)) &&
    (has(to, "fin1") || has(to, "rst") || has(to, "end")) &&
    !to.answers.includes("syn");
  const crossing = crossed && has(from, "fin1") && has(to, "fin2");
  return {
    exchange,
    ns: to.offset - from.offset,
    least: crossing ? sizes.crossing : sizes.least,
    most: crossing ? sizes.crossing : sizes.most,
    cut: crossing ? sizes.crossing : exchange ? sizes.exchange : sizes.cut,
    // The closing is what the reader came for; the opening counts less.
    weight: crossing || exchange ? 0 : closing.some((id) => has(from, id)) ? 3 : 1,
  };
}

// What is drawn longer than to scale is still the shortest: better than a cut.
const stretchedWorth = 0.4;

// chooseScale finds the px per ns at which most is to scale. Only those can be
// best at which some gap just fits.
function chooseScale(gaps) {
  let best = 0;
  let most = 0;
  for (const candidate of gaps) {
    if (candidate.ns <= 0 || candidate.weight === 0) continue;
    for (const height of [candidate.most, candidate.least]) {
      const scale = height / candidate.ns;
      let sum = 0;
      for (const gap of gaps) {
        const px = gap.ns * scale;
        if (px > gap.most * (1 + 1e-9)) continue;
        sum += gap.weight * (px >= gap.least * (1 - 1e-9) ? 1 : stretchedWorth);
      }
      if (sum > most) {
        best = scale;
        most = sum;
      }
    }
  }
  // Where nothing counts, what there is says at least how long it was.
  const longest = Math.max(0, ...gaps.map((gap) => gap.ns));
  return best > 0 || longest === 0 ? best : sizes.exchange / longest;
}

function heightOf(gap, pxPerNS) {
  const px = gap.ns * pxPerNS;
  if (px <= gap.most * (1 + 1e-9)) return Math.max(px, gap.least);
  // What is cut keeps its order among what is cut.
  return pxPerNS > 0 && gap.cut > gap.most ? gap.cut + 6 * Math.log10(px / gap.most) : gap.cut;
}

function fitOf(px, height) {
  if (px > height + 0.5) return "cut";
  return px < height - 0.5 ? "stretched" : "scale";
}

/**
 * A round duration that is a handy length at a scale, for the scale bar.
 * @returns {?{ns: number, px: number}}
 */
export function scaleBar(pxPerNS, wanted = 70) {
  if (!(pxPerNS > 0)) return null;
  const raw = wanted / pxPerNS;
  const power = 10 ** Math.floor(Math.log10(raw));
  const ns = [5, 2, 1].map((m) => m * power).find((v) => v <= raw);
  return { ns, px: ns * pxPerNS };
}
