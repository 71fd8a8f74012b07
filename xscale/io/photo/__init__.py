"""Photos and pictures: decoding with limits, colour spaces, resampling, PNG output."""
