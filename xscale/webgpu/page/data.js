// Data of the page: parts from the document or the server, unpacked; the mesh put together again.

class Damaged extends Error {}
class NotFetched extends Error {}

const ILLEGAL = [0, 13, 60];

// Text of a script element to bytes: seven bits a character (codec.py, as_text).
function bytesOfText(text) {
  const bytes = new Uint8Array(Math.floor((text.length * 7) / 8));
  let at = 0, held = 0, bits = 0;
  for (let i = 0; i < text.length; i++) {
    let symbol = text.charCodeAt(i);
    if (symbol > 127) symbol = symbol < 259 && symbol > 255 ? ILLEGAL[symbol - 256] : NaN;
    if (symbol !== symbol) throw new Damaged(`character ${i} belongs to nothing`);
    held = ((held << 7) | symbol) & 0x7fff;
    bits += 7;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (held >> bits) & 255;
    }
  }
  return bytes;
}

// The element of a part, once the parser has passed it; what is still arriving is waited for.
async function partElement(name) {
  for (;;) {
    const found = document.getElementById(`part-${name}`);
    if (found && (found.nextElementSibling || document.readyState !== "loading")) return found;
    if (document.readyState !== "loading") throw new Damaged(`part ${name} is missing`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function packedPart(meta, name) {
  if (!meta.folder) {
    const element = await partElement(name);
    const bytes = bytesOfText(element.textContent);
    element.remove();
    return bytes.subarray(0, meta.parts[name].packed);
  }
  const unreached = (error) => { throw new NotFetched(error.message); };
  const answer = await fetch(`${name}.gz`).catch(unreached);
  if (!answer.ok) throw new Damaged(`${name}.gz: the server answered ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer().catch(unreached));
  // A server may have unpacked it on the way.
  return bytes;
}

// One part's bytes; a wrong length or checksum is an error.
async function part(meta, name) {
  const { packed, size } = meta.parts[name];
  const raw = await packedPart(meta, name);
  if (meta.folder && raw.length === size && !(raw[0] === 31 && raw[1] === 139)) return raw;
  if (raw.length !== packed) throw new Damaged(`part ${name} has ${raw.length} bytes of ${packed}`);
  try {
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    if (bytes.length === size) return bytes;
  } catch (error) {
    throw new Damaged(`part ${name}: ${error.message || error}`);
  }
  throw new Damaged(`part ${name} has another length`);
}

// The planes of one plane-wise array as numbers.
function words(bytes, begin, count) {
  const out = new Uint32Array(count);
  for (let plane = 0; plane < 4; plane++) {
    const from = begin + plane * count;
    for (let i = 0; i < count; i++) out[i] |= bytes[from + i] << (8 * plane);
  }
  return out;
}

// Vertices (float32) and corners (uint32) of codec.py's packed mesh.
function meshOf(bytes, mesh) {
  const n = mesh.vertices, corners = 3 * mesh.faces;
  if (bytes.length !== 12 * n + 4 * corners) throw new Damaged("the mesh has another length");
  const moves = words(bytes, 0, 3 * n);
  const vertices = new Float32Array(3 * n);
  for (let axis = 0; axis < 3; axis++) {
    let whole = 0;
    for (let i = 0; i < n; i++) {
      const zigzag = moves[axis * n + i];
      whole += zigzag & 1 ? -((zigzag >>> 1) + 1) : zigzag >>> 1;
      vertices[3 * i + axis] = whole * mesh.step + mesh.low[axis];
    }
  }
  const behind = words(bytes, 12 * n, corners);
  let next = 0;
  for (let i = 0; i < corners; i++) {
    const index = next - behind[i];
    if (index < 0 || index > next || index >= n) throw new Damaged("a face has no such corner");
    if (index === next) next++;
    behind[i] = index;
  }
  return { vertices, faces: behind };
}
