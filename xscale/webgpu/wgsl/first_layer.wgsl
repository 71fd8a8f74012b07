// Port of csrc/fused/frame_net.h: levels go one by one into the first layer and are never kept.
//{ $q in HIDDEN
  var h$q = Quad(net.bias1[$q]);
//}
//{ $g in TABLES
  for (var l = $BEGINu; l < $ENDu; l++) {
    let level = net.levels[l];
    var share = 1.0;
    if (frame.look.y > 0.0) { share = encode_fade(footprint, level.scale); }
    // Finer levels fade more.
    if (share < 0.00390625) { break; }
    let cell = encode_cell(level, x);
    for (var part = 0u; part < $PARTSu; part++) {
      let f = Quad(features$g(cell, part) * share);
      let c = l * $WIDTHu + 4u * part;
      let w = (c >> 2u) * $QUADSu;
//{ $q in HIDDEN
      h$q += $PRODUCT;
//}
    }
  }
//}
