// Port of csrc/encode/encode.h: features of a point from a multiresolution hash grid.

struct Level { offset: u32, rows: u32, resolution: u32, dense: u32, scale: f32, pad0: f32, pad1: f32, pad2: f32 };

// Rows of a cell's eight corners, and the weights of its upper ones.
struct Cell { low: vec4u, high: vec4u, weight: vec3f };

fn encode_fade(footprint: f32, scale: f32) -> f32 {
  // Held below 8, where the weight is 1: WGSL promises nothing about infinities.
  let a = min(0.35355339059327373 / max(footprint * scale, 1e-6), 8.0);
  var p = 0.0000430638;
  p = p * a + 0.0002765672;
  p = p * a + 0.0001520143;
  p = p * a + 0.0092705272;
  p = p * a + 0.0422820123;
  p = p * a + 0.0705230784;
  p = p * a + 1.0;
  p *= p; p *= p; p *= p; p *= p;
  return 1.0 - 1.0 / p;
}

fn encode_row(level: Level, x: u32, y: u32, z: u32) -> u32 {
  if (level.dense != 0u) {
    let row = x + level.resolution * (y + level.resolution * z);
    return level.offset + select(row - level.rows, row, row < level.rows);
  }
  return level.offset + ((x ^ (y * 2654435761u) ^ (z * 805459861u)) & (level.rows - 1u));
}

fn encode_cell(level: Level, x: vec3f) -> Cell {
  let a = vec3u(fma(x, vec3f(level.scale), vec3f(0.5)));
  let t = fma(x, vec3f(level.scale), vec3f(0.5) - vec3f(a));
  let b = a + 1u;
  let low = vec4u(
    encode_row(level, a.x, a.y, a.z), encode_row(level, b.x, a.y, a.z),
    encode_row(level, a.x, b.y, a.z), encode_row(level, b.x, b.y, a.z));
  let high = vec4u(
    encode_row(level, a.x, a.y, b.z), encode_row(level, b.x, a.y, b.z),
    encode_row(level, a.x, b.y, b.z), encode_row(level, b.x, b.y, b.z));
  return Cell(low, high, $WEIGHT);
}
//{ $g in TABLES

@group(1) @binding($g) var<storage, read> table$g: array<$ROW>;

fn value$g(row: u32, part: u32) -> vec4f { $VALUE }

fn features$g(cell: Cell, part: u32) -> vec4f {
  let x0 = mix(value$g(cell.low.x, part), value$g(cell.low.y, part), cell.weight.x);
  let x1 = mix(value$g(cell.low.z, part), value$g(cell.low.w, part), cell.weight.x);
  let x2 = mix(value$g(cell.high.x, part), value$g(cell.high.y, part), cell.weight.x);
  let x3 = mix(value$g(cell.high.z, part), value$g(cell.high.w, part), cell.weight.x);
  return mix(mix(x0, x1, cell.weight.y), mix(x2, x3, cell.weight.y), cell.weight.z);
}
//}
