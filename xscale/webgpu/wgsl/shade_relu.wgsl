// Port of csrc/shade/relu.h: features and view direction to linear light, by two ReLU layers.

struct Net {
  levels: array<Level, $LEVELS>,
  bias1: array<vec4f, $QUADS>, bias2: array<vec4f, $QUADS>, bias3: vec4f,
  exposure: array<vec4f, 3>,
  matrix1: array<Block, $MATRIX1>,  // by four inputs, then four outputs
  matrix2: array<Block, $MATRIX2>,  // by four outputs, then four inputs: layer one, harmonics
  matrix3: array<Block, $QUADS>,
};
@group(0) @binding(4) var<$SPACE> net: Net;

fn shade(frame: Frame, x: vec3f, footprint: f32, d: vec3f, lane: u32) -> vec3f {
$FIRST_LAYER
//{ $q in HIDDEN
  h$q = max(h$q, Quad(0.0));
//}
  let d2 = d * d;
  let s0 = Quad(vec4f(0.28209479177387814, -0.48860251190291987 * d.y, 0.48860251190291987 * d.z, -0.48860251190291987 * d.x));
  let s1 = Quad(vec4f(1.0925484305920792 * d.x * d.y, -1.0925484305920792 * d.y * d.z, 0.94617469575755997 * d2.z - 0.31539156525251999, -1.0925484305920792 * d.x * d.z));
  let s2 = Quad(vec4f(0.54627421529603959 * (d2.x - d2.y), 0.59004358992664352 * d.y * (d2.y - 3.0 * d2.x), 2.8906114426405538 * d.x * d.y * d.z, 0.45704579946446572 * d.y * (1.0 - 5.0 * d2.z)));
  let s3 = Quad(vec4f(0.3731763325901154 * d.z * (5.0 * d2.z - 3.0), 0.45704579946446572 * d.x * (1.0 - 5.0 * d2.z), 1.4453057213202769 * d.z * (d2.x - d2.y), 0.59004358992664352 * d.x * (3.0 * d2.y - d2.x)));
  var raw = Quad(net.bias3);
  for (var j = 0u; j < $QUADSu; j++) {
    let w = j * $INPUTS2u;
    var g = Quad(net.bias2[j]);
//{ $q in HIDDEN
    g += net.matrix2[w + $qu] * h$q;
//}
//{ $q in HARMONICS
    g += net.matrix2[w + $QUADSu + $qu] * s$q;
//}
    raw += net.matrix3[j] * max(g, Quad(0.0));
  }
  let light = vec4f(sigmoid(vec3f(raw.xyz)), 1.0);
  return srgb(vec3f(dot(net.exposure[0], light), dot(net.exposure[1], light), dot(net.exposure[2], light)));
}
