// Built-in data for language models: sums like "12+35=47\n", as tokens.
//
// A pure function of the options, the same bits on every machine. No pair of operands, in either
// order, is in both the training and the test part.
#ifndef LOCKSTEP_ENGINE_DATA_BUILTIN_SUMS_H_
#define LOCKSTEP_ENGINE_DATA_BUILTIN_SUMS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

struct SumsOptions {
  uint64_t seed = 1;
  int digits = 2;              // operands are below 10^digits; 1 to 3
  double test_fraction = 0.1;  // of all pairs of operands
};

// x i32 {T}, target i32 {T}, T = 3 digits + 3: the characters of one sum but the last, and each
// one's successor; '\n' fills up short sums. Targets before the answer (up to and with '=') and
// after its '\n' are kIgnoredTarget.
struct SumsData {
  std::shared_ptr<const InMemoryDataset> train, test;
  std::vector<std::string> train_texts, test_texts;  // "12+35=47\n", by sample
  std::shared_ptr<const Tokenizer> tokenizer;        // of characters: "\n+0123456789="
};

Result<SumsData> MakeSums(const SumsOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_BUILTIN_SUMS_H_
