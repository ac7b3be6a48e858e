// What a network of pictures makes of its samples, for people to look at.
#ifndef LOCKSTEP_TOOLS_REPORT_PICTURE_SAMPLES_H_
#define LOCKSTEP_TOOLS_REPORT_PICTURE_SAMPLES_H_

#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1::tools {

// Bytes (height, width, channels), 1 or 3 channels.
struct ShownPicture {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels{};
};

// How the network's input became what it is from pixels v, by channel: x = (v - mean) / sd. Empty:
// x = v.
struct PixelScale {
  std::vector<float> mean{}, sd{};
};

// x (height, width, channels) before it was standardised, 1 for white; one with values beyond is
// spread so that its least is black and its largest white. Sides longer than `longest` are shrunk
// to that.
ShownPicture ShowInput(ConstTensor x, const PixelScale& scale, int64_t longest);

struct SeenSample {
  ShownPicture picture{};
  int64_t truth = 0, predicted = 0;
  double probability = 0.0;  // of what was predicted
  double truth_probability = 0.0;
};

struct PictureSamples {
  int64_t looked_at = 0;              // of them; not all where there are very many
  std::vector<SeenSample> samples{};  // spread evenly over those
  // Those with another class predicted than is true, the least probability of the true class first.
  std::vector<SeenSample> mistakes{};
};

struct PictureSamplesOptions {
  size_t samples = 24, mistakes = 24;
  int64_t longest = 72;
  int64_t values = int64_t{1} << 27;  // of inputs that are looked at, at most
};

// REQUIRES: x (H, W, 1 or 3), and one class for each sample.
Result<PictureSamples> LookAtPictures(Network& network, const Subset& subset,
                                      const PixelScale& scale,
                                      const PictureSamplesOptions& options = {});

// The filters of the network's first layer as pictures, grey for a weight of 0, all to one scale;
// `most` at most. Empty where they are no pictures: fewer than 3 pixels a side, or channels other
// than 1 and 3. Of a fully connected layer each row is one, of the input's shape `x`.
std::vector<ShownPicture> FirstFilters(const Network& network, const Shape& x, size_t most,
                                       int64_t longest);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_PICTURE_SAMPLES_H_
