// Port of csrc/shade/film.h: features and view direction to linear light, by the FiLM-SIREN shader.
// The light's frequencies and phases are part of layer one and two, 15 and 30 of the mapping.

struct Net {
  levels: array<Level, $LEVELS>,
  bias1: array<vec4f, $QUADS>,
  scale: array<vec4f, $QUADS>, shift: array<vec4f, $QUADS>,  // the photo's exposure
  middle_bias: array<vec4f, $TWO_QUADS>,    // second feature layer, mapping
  codes_bias: array<vec4f, $CODES_QUADS>,   // frequencies of both layers, then their phases
  direction_bias: array<vec4f, $TWO_QUADS>, bias3: vec4f,
  matrix1: array<Block, $MATRIX1>,  // by four inputs, then four outputs
  middle: array<Block, $TWO_SQUARES>,  // these by four outputs, then four inputs
  codes: array<Block, $CODES>,
  direction: array<Block, $QUADS>,  // of x, y, z, 0
  direction2: array<Block, $SQUARE>,
  matrix3: array<Block, $QUADS>,
};
@group(0) @binding(4) var<$SPACE> net: Net;

// A thread's own numbers: a layer is written here output by output and then taken back by name,
// since arrays with changing indices would leave the registers.
var<workgroup> kept: array<Quad, $KEPT>;

// Sine of numbers of any size: WGSL's own is exact only within half a turn.
fn sine(x: Quad) -> Quad {
  let wide = vec4f(x);
  let n = round(wide * 0.3183098861837907);
  var r = fma(n, vec4f(-3.140625), wide);
  r = fma(n, vec4f(-0.000967502593994140625), r);
  r = fma(n, vec4f(-1.5099579909783764e-7), r);
  let r2 = r * r;
  var p = fma(r2, vec4f(-2.3889859e-8), vec4f(2.7525562e-6));
  p = fma(r2, p, vec4f(-0.00019840874));
  p = fma(r2, p, vec4f(0.0083333310));
  p = fma(r2, p, vec4f(-0.16666667));
  let value = fma(r2 * r, p, r);
  let odd = (vec4i(n) & vec4i(1)) != vec4i(0);
  return Quad(select(value, -value, odd));
}

// Loops over layers and stages keep the text short: drivers compile it in seconds, not minutes.
fn shade(frame: Frame, x: vec3f, footprint: f32, d: vec3f, lane: u32) -> vec3f {
$FIRST_LAYER
//{ $q in HIDDEN
  kept[$qu * $LANESu + lane] = h$q;
//}
  for (var j = 0u; j < $QUADSu; j++) {
    kept[j * $LANESu + lane] = sine(kept[j * $LANESu + lane]);
  }
  // The second feature layer with the exposure after it, then the mapping.
  for (var layer = 0u; layer < 2u; layer++) {
//{ $q in HIDDEN
    h$q = kept[$qu * $LANESu + lane];
//}
    for (var j = 0u; j < $QUADSu; j++) {
      let w = layer * $SQUAREu + j * $QUADSu;
      var g = Quad(net.middle_bias[layer * $QUADSu + j]);
//{ $q in HIDDEN
      g += net.middle[w + $qu] * h$q;
//}
      if (layer == 0u) {
        g = Quad(net.scale[j]) * sine(g) + Quad(net.shift[j]);
      } else {
        g = max(g, Quad(0.0)) + Real(0.2) * min(g, Quad(0.0));
      }
      kept[j * $LANESu + lane] = g;
    }
  }
//{ $q in HIDDEN
  h$q = kept[$qu * $LANESu + lane];
//}
  // Both direction layers, under the frequencies and phases that the mapping gives.
  let direction = Quad(vec4f(d, 0.0));
  var raw = Quad(net.bias3);
  for (var layer = 0u; layer < 2u; layer++) {
    for (var j = 0u; j < $QUADSu; j++) {
      let code = layer * $QUADSu + j;
      let w = code * $QUADSu;
      let w2 = w + 2u * $SQUAREu;
      var frequency = Quad(net.codes_bias[code]);
      var phase = Quad(net.codes_bias[code + 2u * $QUADSu]);
//{ $q in HIDDEN
      frequency += net.codes[w + $qu] * h$q;
      phase += net.codes[w2 + $qu] * h$q;
//}
      var g = Quad(net.direction_bias[code]);
      if (layer == 0u) {
        g += net.direction[j] * direction;
      } else {
        for (var i = 0u; i < $QUADSu; i++) {
          g += net.direction2[j * $QUADSu + i] * kept[i * $LANESu + lane];
        }
      }
      let y = sine(frequency * g + phase);
      if (layer == 0u) {
        kept[j * $LANESu + lane] = y;
      } else {
        raw += net.matrix3[j] * y;
      }
    }
  }
  return 1.002 * clamp(srgb(sigmoid(vec3f(raw.xyz))), vec3f(0.0), vec3f(1.0)) - 0.001;
}
