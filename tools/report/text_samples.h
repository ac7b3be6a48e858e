// What a network of texts makes of its samples, for people to look at.
#ifndef LOCKSTEP_TOOLS_REPORT_TEXT_SAMPLES_H_
#define LOCKSTEP_TOOLS_REPORT_TEXT_SAMPLES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1::tools {

// Whether samples are tokens, and each has a token to be foretold at every place.
bool IsText(const DatasetInfo& info);

struct SeenText {
  std::string given{}, truth{}, said{};  // before the first token that counts; those that do
  double loss = 0.0;                     // of a token, on average
  int64_t index = 0;                     // of the sample in its dataset
};

struct TextSamplesOptions {
  size_t shown = 12;        // of each, at most
  int64_t tokens = 100000;  // that are looked at, at most
};

struct SeenTexts {
  int64_t looked_at = 0;                // of the samples, evenly spread
  std::vector<SeenText> worst, best{};  // by loss, the most telling first
};

// What the network foretells, each token from the true ones before it. REQUIRES: IsText, and a
// tokenizer.
Result<SeenTexts> LookAtTexts(Network& network, const Subset& subset,
                              const TextSamplesOptions& options = {});

// As it can stand in a table: line ends and what is no letter are shown by signs, and what is longer
// than `most` bytes is cut at the front.
std::string Shown(std::string_view text, size_t most);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_TEXT_SAMPLES_H_
