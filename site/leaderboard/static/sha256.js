// SHA-256 of a text (FIPS 180-4), of our own because browsers offer theirs only to some origins.
"use strict";

// The first 32 bits behind the point of a root of each of the first primes.
function rootBits(count, root) {
  const bits = [];
  for (let n = 2; bits.length < count; n += 1) {
    let prime = true;
    for (let d = 2; d * d <= n; d += 1) prime &&= n % d !== 0;
    if (prime) bits.push(Math.floor((root(n) % 1) * 2 ** 32));
  }
  return bits;
}

const SHA_START = rootBits(8, Math.sqrt);
const SHA_ROUNDS = rootBits(64, Math.cbrt);

function sha256(text) {
  const view = padded(new TextEncoder().encode(text));
  let state = SHA_START;
  for (let block = 0; block < view.byteLength; block += 64) {
    const mixed = compressed(state, schedule(view, block));
    state = state.map((word, i) => (word + mixed[i]) >>> 0);
  }
  return state.map((word) => word.toString(16).padStart(8, "0")).join("");
}

// The bytes, a one bit, zeros, and the length in bits, in blocks of 64 bytes.
function padded(bytes) {
  const length = Math.ceil((bytes.length + 9) / 64) * 64;
  const view = new DataView(new ArrayBuffer(length));
  bytes.forEach((byte, i) => view.setUint8(i, byte));
  view.setUint8(bytes.length, 0x80);
  view.setUint32(length - 4, bytes.length * 8);
  return view;
}

function schedule(view, block) {
  const words = Array.from({ length: 16 }, (_, i) => view.getUint32(block + 4 * i));
  for (let i = 16; i < 64; i += 1) {
    const [far, near] = [words[i - 15], words[i - 2]];
    const low = turnedRight(far, 7) ^ turnedRight(far, 18) ^ (far >>> 3);
    const high = turnedRight(near, 17) ^ turnedRight(near, 19) ^ (near >>> 10);
    words.push((words[i - 16] + low + words[i - 7] + high) >>> 0);
  }
  return words;
}

function compressed(state, words) {
  let [a, b, c, d, e, f, g, h] = state;
  words.forEach((word, i) => {
    const high = turnedRight(e, 6) ^ turnedRight(e, 11) ^ turnedRight(e, 25);
    const first = h + high + ((e & f) ^ (~e & g)) + SHA_ROUNDS[i] + word;
    const low = turnedRight(a, 2) ^ turnedRight(a, 13) ^ turnedRight(a, 22);
    const second = low + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) >>> 0, c, b, a, (first + second) >>> 0];
  });
  return [a, b, c, d, e, f, g, h];
}

function turnedRight(word, bits) {
  return (word >>> bits) | (word << (32 - bits));
}
