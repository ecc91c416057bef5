// What a network's numbers mean: sizes that fit, probabilities, labels, scores, differences.
// The steps are those of deeplab_lite/ask.py, sizes.py and metrics.py.

export const IGNORE = 255; // the label of outlines, which no score counts

/** The smallest side that fits a network and is no smaller than `side`. */
export function fittingSide(side, { multiple_of: step, plus, least }) {
  return Math.max(least, step * Math.ceil((side - plus) / step) + plus);
}

/** An image as a network takes it: Float32Array of 3 x height x width, from 0 to 1. */
export function planes({ width, height, pixels }) {
  const area = width * height, values = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < area; i++) values[c * area + i] = pixels[3 * i + c] / 255;
  }
  return values;
}

/** Maps, channel after channel, enlarged or shrunk bilinearly, as torch does without aligned corners. */
export function resize(maps, from, to) {
  if (from.width === to.width && from.height === to.height) return maps;
  const channels = maps.length / (from.width * from.height);
  const result = new Float32Array(channels * to.width * to.height);
  const columns = places(from.width, to.width), rows = places(from.height, to.height);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (const [y0, y1, dy] of rows) {
      const above = (c * from.height + y0) * from.width, below = (c * from.height + y1) * from.width;
      for (const [x0, x1, dx] of columns) {
        const high = maps[above + x0] + dx * (maps[above + x1] - maps[above + x0]);
        const low = maps[below + x0] + dx * (maps[below + x1] - maps[below + x0]);
        result[at++] = high + dy * (low - high);
      }
    }
  }
  return result;
}

function places(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const place = Math.max(0, ((i + 0.5) * from) / to - 0.5), first = Math.floor(place);
    return [first, Math.min(first + 1, from - 1), place - first];
  });
}

/** Softmax over the channels of logits, in place. */
export function softmax(logits, area) {
  for (let i = 0; i < area; i++) {
    let most = -Infinity, sum = 0;
    for (let at = i; at < logits.length; at += area) most = Math.max(most, logits[at]);
    for (let at = i; at < logits.length; at += area) sum += logits[at] = Math.exp(logits[at] - most);
    for (let at = i; at < logits.length; at += area) logits[at] /= sum;
  }
  return logits;
}

/** The likeliest class of each pixel, `label`, and its probability, `confidence`. */
export function likeliest(probabilities, area) {
  const label = new Uint8Array(area), confidence = probabilities.slice(0, area);
  for (let at = area, k = 1; at < probabilities.length; at += area, k++) {
    for (let i = 0; i < area; i++) {
      if (probabilities[at + i] > confidence[i]) {
        confidence[i] = probabilities[at + i];
        label[i] = k;
      }
    }
  }
  return { label, confidence };
}

/** mIoU over the classes that are there or predicted, and the share of pixels that are right. */
export function score(label, truth, classes) {
  const both = new Float64Array(classes), either = new Float64Array(classes);
  let right = 0, counted = 0;
  for (let i = 0; i < truth.length; i++) {
    if (truth[i] === IGNORE) continue;
    counted++;
    either[truth[i]]++;
    if (label[i] === truth[i]) {
      right++;
      both[truth[i]]++;
    } else either[label[i]]++;
  }
  const ious = Array.from(both, (n, k) => n / either[k]).filter((iou) => !Number.isNaN(iou));
  return { miou: mean(ious), right: right / counted };
}

export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

// How two answers can differ at a pixel.
export const AGREE = 0, FIRST = 1, SECOND = 2, NEITHER = 3, OUTLINE = 4, UNKNOWN = 5;

/** For each pixel one of these: which answer is right there, where the truth says it. */
export function differences(first, second, truth) {
  const kinds = new Uint8Array(first.length);
  for (let i = 0; i < kinds.length; i++) {
    if (first[i] === second[i]) kinds[i] = AGREE;
    else if (!truth) kinds[i] = UNKNOWN;
    else if (truth[i] === IGNORE) kinds[i] = OUTLINE;
    else kinds[i] = first[i] === truth[i] ? FIRST : second[i] === truth[i] ? SECOND : NEITHER;
  }
  return kinds;
}
