#include "engine/data/folds.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/base/shuffle.h"
#include "engine/data/assign_groups.h"
#include "engine/data/time_order.h"

namespace lockstep::inline v0_1 {
namespace {

std::vector<int64_t> EqualSizes(int64_t size, int64_t parts) {
  std::vector<int64_t> sizes;
  for (int64_t p = 0; p < parts; ++p) sizes.push_back(size * (p + 1) / parts - size * p / parts);
  return sizes;
}

// The fold of each sample, from 0. Classes are dealt out one after another, as cards are: each
// begins where the one before it ended.
std::vector<int32_t> DealtFolds(int64_t size, const SplitKeys& keys, const FoldOptions& options) {
  std::map<int32_t, std::vector<int64_t>> members;
  for (int64_t i = 0; i < size; ++i)
    members[keys.classes.empty() ? 0 : keys.classes[static_cast<size_t>(i)]].push_back(i);
  std::vector<int32_t> folds(static_cast<size_t>(size));
  int64_t dealt = 0;
  for (auto& [label, samples] : members) {
    Random random(options.seed,
                  StreamOf("folds") + static_cast<uint64_t>(static_cast<uint32_t>(label)));
    Shuffle(samples, random);
    for (const int64_t sample : samples)
      folds[static_cast<size_t>(sample)] = static_cast<int32_t>(dealt++ % options.folds);
  }
  return folds;
}

Result<std::vector<int32_t>> GroupedFolds(const SplitKeys& keys, const FoldOptions& options) {
  const std::vector<SampleGroup> groups = GroupSamples(keys.groups, keys.classes);
  if (const int64_t held = HeldGroups(groups); held < options.folds) {
    return Status::Invalid(std::to_string(held) + " groups are too few for " +
                           std::to_string(options.folds) + " folds; take fewer, or no groups");
  }
  const std::vector<int64_t> wanted = EqualSizes(std::ssize(keys.groups), options.folds);
  const std::vector<int32_t> part =
      AssignGroups(groups, wanted, Random(options.seed, StreamOf("grouped folds")));
  std::vector<int32_t> folds;
  for (const int32_t group : keys.groups) folds.push_back(part[static_cast<size_t>(group)]);
  return folds;
}

// Whether every class is left to train on, whichever fold is held back.
Status CheckClasses(const SplitKeys& keys, const std::vector<int32_t>& folds) {
  std::map<int32_t, std::pair<int32_t, bool>>
      found;  // by class: a fold with it, and if another has
  for (size_t i = 0; i < keys.classes.size(); ++i) {
    const auto [at, first] = found.try_emplace(keys.classes[i], folds[i], false);
    if (!first && at->second.first != folds[i]) at->second.second = true;
  }
  for (const auto& [label, fold] : found) {
    if (fold.second) continue;
    return Status::Invalid("class " + std::to_string(label) + " is in fold " +
                           std::to_string(fold.first + 1) +
                           " alone: with that held back there is none to train on; take other "
                           "folds, or leave its samples out");
  }
  return Status::Ok();
}

// The samples of `rest`, of which some are held back for validation.
Result<Splits> WithValidation(const std::vector<int64_t>& rest, std::vector<int64_t> test,
                              const SplitKeys& keys, const FoldOptions& options) {
  const auto size = static_cast<int64_t>(rest.size());
  LOCKSTEP_TRY_ASSIGN(
      Splits splits,
      SplitBy(size, KeysOf(keys, rest),
              {.validation = options.validation, .test = Share::Count(0), .seed = options.seed}));
  for (auto* list : {&splits.train, &splits.validation}) {
    for (int64_t& sample : *list) sample = rest[static_cast<size_t>(sample)];
  }
  splits.test = std::move(test);
  return splits;
}

}  // namespace

Result<Splits> FoldSplit(int64_t size, const SplitKeys& keys, const FoldOptions& options) {
  if (options.folds < 2) {
    return Status::Invalid("cross-validation needs two folds or more, not " +
                           std::to_string(options.folds));
  }
  if (options.fold < 1 || options.fold > options.folds) {
    return Status::Invalid("there is no fold " + std::to_string(options.fold) + ": they are 1 to " +
                           std::to_string(options.folds));
  }
  if (size < options.folds) {
    return Status::Invalid(std::to_string(size) + " samples are too few for " +
                           std::to_string(options.folds) + " folds; take fewer");
  }
  std::vector<int64_t> rest, test;
  if (!keys.times.empty()) {
    LOCKSTEP_TRY_ASSIGN(std::vector<std::vector<int64_t>> blocks,
                        CutByTime(keys.times, EqualSizes(size, options.folds + 1)));
    for (int64_t b = 0; b < options.fold; ++b) {
      const std::vector<int64_t>& block = blocks[static_cast<size_t>(b)];
      rest.insert(rest.end(), block.begin(), block.end());
    }
    test = std::move(blocks[static_cast<size_t>(options.fold)]);
    std::sort(rest.begin(), rest.end());
    std::sort(test.begin(), test.end());
    return WithValidation(rest, std::move(test), keys, options);
  }
  std::vector<int32_t> folds;
  if (keys.groups.empty()) {
    folds = DealtFolds(size, keys, options);
  } else {
    LOCKSTEP_TRY_ASSIGN(folds, GroupedFolds(keys, options));
  }
  LOCKSTEP_TRY(CheckClasses(keys, folds));
  for (int64_t i = 0; i < size; ++i)
    (folds[static_cast<size_t>(i)] + 1 == options.fold ? test : rest).push_back(i);
  return WithValidation(rest, std::move(test), keys, options);
}

}  // namespace lockstep
