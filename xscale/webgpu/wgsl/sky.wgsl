// Port of xscale/model/background.py: pixels that no face covers, in place.

struct Sky { low: vec4f, high: vec4f, grey: f32, learned: u32, box: u32, rows: u32, axis: u32 };

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var<uniform> sky: Sky;
@group(0) @binding(2) var<storage, read> texture: array<u32>;
@group(0) @binding(3) var<storage, read_write> picture: array<u32>;

fn leaving_point(eye: vec3f, d: vec3f) -> vec3f {
  let start = clamp(eye, sky.low.xyz, sky.high.xyz);
  let wall = select(sky.low.xyz, sky.high.xyz, d > vec3f(0.0));
  // A ray along a side never meets it.
  let along = select((wall - start) / select(d, vec3f(1.0), d == vec3f(0.0)), vec3f(3e38), d == vec3f(0.0));
  return clamp(start + d * min(min(along.x, along.y), along.z), sky.low.xyz, sky.high.xyz);
}

fn cell(column: i32, row: i32) -> vec3f {
  let columns = 2 * i32(sky.rows);
  let wrapped = (column % columns + columns) % columns;
  return unpack4x8unorm(texture[row * columns + wrapped]).xyz;
}

// Angle of a vector. WGSL's own atan2 and acos may be off by a thousandth, which a sharp picture
// shows. Source: Abramowitz and Stegun 4.4.49.
fn angle(y: f32, x: f32) -> f32 {
  let a = abs(x);
  let b = abs(y);
  if (max(a, b) == 0.0) { return 0.0; }
  let t = min(a, b) / max(a, b);
  let t2 = t * t;
  var p = 0.0028662257;
  p = p * t2 - 0.0161657367;
  p = p * t2 + 0.0429096138;
  p = p * t2 - 0.0752896400;
  p = p * t2 + 0.1065626393;
  p = p * t2 - 0.1420889944;
  p = p * t2 + 0.1999355085;
  p = p * t2 - 0.3333314528;
  p = t + t * t2 * p;
  if (b > a) { p = 1.5707963267948966 - p; }
  if (x < 0.0) { p = 3.141592653589793 - p; }
  return select(p, -p, y < 0.0);
}

fn look_up(direction: vec3f) -> vec3f {
  var d = direction;
  if (sky.axis == 0u) { d = direction.yzx; }
  if (sky.axis == 1u) { d = direction.zxy; }
  let rows = f32(sky.rows);
  let x = (angle(d.y, d.x) / 6.283185307179586 + 0.5) * 2.0 * rows - 0.5;
  let y = clamp(angle(length(d.xy), d.z) / 3.141592653589793 * rows - 0.5, 0.0, rows - 1.0);
  let left = floor(x);
  let top = floor(y);
  let below = min(i32(top) + 1, i32(sky.rows) - 1);
  let upper = mix(cell(i32(left), i32(top)), cell(i32(left) + 1, i32(top)), x - left);
  let lower = mix(cell(i32(left), below), cell(i32(left) + 1, below), x - left);
  return mix(upper, lower, y - top);
}

@compute @workgroup_size(8, 8) fn fill(@builtin(global_invocation_id) id: vec3u) {
  let pixel = vec2u(id.x, id.y + frame.size.w);
  if (pixel.x >= frame.size.x || pixel.y >= frame.size.y) { return; }
  let place = pixel.y * frame.size.z + pixel.x;
  if ((picture[place] >> 24u) != 0u) { return; }
  var colour = vec3f(sky.grey);
  if (sky.learned != 0u) {
    let ray = pinhole_ray(frame, pixel);
    var d = ray.direction / ray.length;
    if (sky.box != 0u) {
      let middle = (sky.low.xyz + sky.high.xyz) / 2.0;
      d = normalize(leaving_point(frame.eye.xyz, d) - middle);
    }
    colour = look_up(d);
  }
  // Alpha stays 0: pictures of several samples take the mesh's where there is one.
  picture[place] = pack4x8unorm(vec4f(colour, 0.0));
}
