// Built-in data: the digits 0 to 9 drawn by strokes, distorted, 28 x 28 grey.
//
// A pure function of the options, the same bits on every machine; image i does not depend on
// `size`. Ink is 255 on 0, as in MNIST.
#ifndef LOCKSTEP_ENGINE_DATA_BUILTIN_DIGITS_H_
#define LOCKSTEP_ENGINE_DATA_BUILTIN_DIGITS_H_

#include <cstdint>
#include <memory>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

struct DigitsOptions {
  uint64_t seed = 1;
  int64_t train = 10000;
  int64_t test = 2000;
  ByteScale byte_scale = {};
};

struct DigitsData {
  std::shared_ptr<const InMemoryDataset> train, test;  // x u8 {28, 28, 1}, 10 classes
};

Result<DigitsData> MakeDigits(const DigitsOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_BUILTIN_DIGITS_H_
