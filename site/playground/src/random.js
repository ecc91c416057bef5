// NumPy's frozen random stream: the numbers of RandomState(seed).random_sample(), bit for bit.

const LENGTH = 624, OFFSET = 397;

/** A function that draws the next number of RandomState(seed), in [0, 1). */
export function randomState(seed) {
  const state = new Uint32Array(LENGTH);
  state[0] = seed;
  for (let i = 1; i < LENGTH; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let next = LENGTH;
  const word = () => {
    if (next === LENGTH) {
      twist(state);
      next = 0;
    }
    let bits = state[next++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  };
  return () => {
    const high = word() >>> 5, low = word() >>> 6; // 27 and 26 bits
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

function twist(state) {
  for (let i = 0; i < LENGTH; i++) {
    const bits = (state[i] & 0x80000000) | (state[(i + 1) % LENGTH] & 0x7fffffff);
    state[i] = state[(i + OFFSET) % LENGTH] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
  }
}

/** `count` numbers. */
export function draws(random, count) {
  return Array.from({ length: count }, random);
}
