// Port of xscale/render/live.py: a picture in its own size or enlarged, onto the canvas.

struct Shown { size: vec4u, canvas: vec4f };  // width, height, words a row, 0; canvas width, height

@group(0) @binding(0) var<uniform> shown: Shown;
@group(0) @binding(1) var<storage, read> words: array<u32>;

@vertex fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

fn word(x: i32, y: i32) -> vec3f {
  let at = vec2u(clamp(vec2i(x, y), vec2i(0), vec2i(shown.size.xy) - 1));
  return unpack4x8unorm(words[at.y * shown.size.z + at.x]).xyz;
}

@fragment fn present(@builtin(position) place: vec4f) -> @location(0) vec4f {
  let at = place.xy / shown.canvas.xy * vec2f(shown.size.xy) - 0.5;
  let low = floor(at + 1e-3);
  let t = max(at - low, vec2f(0.0));
  let x = i32(low.x);
  let y = i32(low.y);
  let upper = mix(word(x, y), word(x + 1, y), t.x);
  let lower = mix(word(x, y + 1), word(x + 1, y + 1), t.x);
  return vec4f(mix(upper, lower, select(t.y, 0.0, t.y < 2e-3)), 1.0);
}
