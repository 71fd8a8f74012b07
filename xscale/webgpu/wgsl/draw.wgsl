// Port of csrc/rasterize/draw.h: the nearest face of each pixel, by the graphics chip's rasterizer.

struct Corner {
  @builtin(position) position: vec4f,
  @location(0) @interpolate(flat, either) face: u32,
};

// Reversed z, near / z: float32 depths are then as exact far away as near by.
@vertex fn draw_vertex(@builtin(vertex_index) index: u32) -> Corner {
  let p = from_eye(frame, corner(index));
  let c = vec3f(dot(frame.right.xyz, p), dot(frame.down.xyz, p), dot(frame.ahead.xyz, p));
  let size = vec2f(frame.size.xy);
  let shift = frame.K.zw - frame.lens.zw + vec2f(0.5);
  let u = frame.K.x * c.x + frame.lens.x * c.y + shift.x * c.z;
  let v = frame.K.y * c.y + shift.y * c.z;
  let place = vec4f(2.0 * u / size.x - c.z, c.z - 2.0 * v / size.y, frame.lens.y, c.z);
  return Corner(place, piece.first + index / 3u + 1u);
}

@fragment fn draw_fragment(in: Corner) -> @location(0) u32 { return in.face; }
