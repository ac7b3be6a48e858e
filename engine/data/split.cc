#include "engine/data/split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/base/shuffle.h"
#include "engine/data/assign_groups.h"
#include "engine/data/time_order.h"

namespace lockstep::inline v0_1 {
namespace {

struct Counts {
  int64_t validation = 0;
  int64_t test = 0;
};

std::string Number(double value) {
  std::string text = std::to_string(value);  // six digits after the point are plenty here
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

// How many of `size` samples a share is.
Result<int64_t> CountOf(const Share& share, int64_t size, const std::string& part) {
  if (share.is_count()) {
    if (share.count() < 0) {
      return Status::Invalid("a " + part + " part of " + std::to_string(share.count()) +
                             " samples: a count from 0 is needed");
    }
    return share.count();
  }
  const double fraction = share.fraction();
  if (!(fraction >= 0.0 && fraction < 1.0)) {
    return Status::Invalid("a " + part + " fraction of " + Number(fraction) + " is not in [0, 1)");
  }
  const auto count = static_cast<int64_t>(std::floor(fraction * static_cast<double>(size) + 0.5));
  if (count == 0 && fraction > 0.0) {
    return Status::Invalid("a " + part + " fraction of " + Number(fraction) + " of " +
                           std::to_string(size) +
                           " samples holds none; choose a larger one, or 0 for no such part");
  }
  return count;
}

Result<Counts> CountsOf(int64_t size, const SplitOptions& options) {
  if (size <= 0) return Status::Invalid("there are no samples to split");
  Counts counts;
  LOCKSTEP_TRY_ASSIGN(counts.validation, CountOf(options.validation, size, "validation"));
  LOCKSTEP_TRY_ASSIGN(counts.test, CountOf(options.test, size, "test"));
  // Each is compared alone first: the sum of two counts from outside could overflow.
  if (counts.validation >= size || counts.test >= size || counts.validation + counts.test >= size) {
    return Status::Invalid(std::to_string(counts.validation) + " validation and " +
                           std::to_string(counts.test) + " test samples of " +
                           std::to_string(size) + " leave none to train on");
  }
  return counts;
}

// The next validation, test and training samples from a shuffled list.
void AddToSplits(const std::vector<int64_t>& shuffled, Counts counts, Splits& splits) {
  auto from = shuffled.begin();
  const auto take = [&](int64_t count, std::vector<int64_t>& into) {
    into.insert(into.end(), from, from + count);
    from += count;
  };
  take(counts.validation, splits.validation);
  take(counts.test, splits.test);
  take(shuffled.end() - from, splits.train);
}

void SortAll(Splits& splits) {
  for (auto* part : {&splits.train, &splits.validation, &splits.test}) {
    std::sort(part->begin(), part->end());
  }
}

// Spreads `total` over groups in proportion to their sizes, by largest remainder (the first group
// wins a tie), at most capacity[i] each. Whole numbers only, so that it is exact.
// REQUIRES: total <= the sum of capacities, capacity[i] <= size[i].
std::vector<int64_t> Apportion(int64_t total, const std::vector<int64_t>& sizes,
                               const std::vector<int64_t>& capacity) {
  __extension__ using Wide = __int128;
  const int64_t all = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<int64_t> shares(sizes.size());
  std::vector<std::pair<int64_t, size_t>> remainders;  // (-remainder, group)
  int64_t left = total;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const Wide exact = Wide{total} * sizes[i];
    shares[i] = std::min(static_cast<int64_t>(exact / all), capacity[i]);
    remainders.emplace_back(-static_cast<int64_t>(exact % all), i);
    left -= shares[i];
  }
  std::sort(remainders.begin(), remainders.end());
  while (left > 0) {
    for (const auto& [remainder, i] : remainders) {
      if (left == 0) break;
      if (shares[i] == capacity[i]) continue;
      ++shares[i];
      --left;
    }
  }
  return shares;
}

std::string NameOf(size_t group, const SplitKeys& keys) {
  return group < keys.group_names.size() ? "\"" + keys.group_names[group] + "\""
                                         : "number " + std::to_string(group);
}

// Every class gets a training sample: the smallest group that has it, where there is none yet.
Status TrainOnEveryClass(std::span<const SampleGroup> groups, std::vector<int32_t>& part) {
  std::map<int32_t, size_t> smallest;
  std::vector<int32_t> trained;
  std::vector<int64_t> held(3);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].size == 0) continue;
    ++held[static_cast<size_t>(part[g])];
    for (const auto& [label, count] : groups[g].classes) {
      if (part[g] == 0) trained.push_back(label);
      const auto at = smallest.try_emplace(label, g).first;
      if (groups[g].size < groups[at->second].size) at->second = g;
    }
  }
  std::sort(trained.begin(), trained.end());
  for (const auto& [label, group] : smallest) {
    int32_t& of = part[group];
    if (of == 0 || std::binary_search(trained.begin(), trained.end(), label)) continue;
    if (held[static_cast<size_t>(of)] < 2) {
      return Status::Invalid("class " + std::to_string(label) +
                             " would have no training sample: there are too few groups with it; "
                             "make the other parts smaller or split without groups");
    }
    --held[static_cast<size_t>(of)];
    of = 0;
  }
  return Status::Ok();
}

}  // namespace

Result<Splits> Split(int64_t size, const SplitOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const Counts counts, CountsOf(size, options));
  std::vector<int64_t> all(static_cast<size_t>(size));
  std::iota(all.begin(), all.end(), int64_t{0});
  Random random(options.seed, StreamOf("split"));
  Shuffle(all, random);
  Splits splits;
  AddToSplits(all, counts, splits);
  SortAll(splits);
  return splits;
}

Result<Splits> StratifiedSplit(std::span<const int32_t> classes, const SplitOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const Counts counts, CountsOf(static_cast<int64_t>(classes.size()), options));
  std::map<int32_t, std::vector<int64_t>> members;
  for (size_t i = 0; i < classes.size(); ++i) {
    members[classes[i]].push_back(static_cast<int64_t>(i));
  }
  const auto class_count = static_cast<int64_t>(members.size());
  if (counts.validation + counts.test + class_count > static_cast<int64_t>(classes.size())) {
    return Status::Invalid(
        "the training part would hold " +
        std::to_string(static_cast<int64_t>(classes.size()) - counts.validation - counts.test) +
        " samples, too few for one of each of " + std::to_string(class_count) +
        " classes; make the other parts smaller or split without classes");
  }

  std::vector<int64_t> sizes, capacity;
  for (const auto& [label, indices] : members) {
    sizes.push_back(static_cast<int64_t>(indices.size()));
    capacity.push_back(sizes.back() - 1);  // one stays for training
  }
  const std::vector<int64_t> test = Apportion(counts.test, sizes, capacity);
  for (size_t c = 0; c < capacity.size(); ++c) capacity[c] -= test[c];
  const std::vector<int64_t> validation = Apportion(counts.validation, sizes, capacity);

  Splits splits;
  size_t c = 0;
  for (auto& [label, indices] : members) {
    Random random(options.seed, StreamOf("stratified split") +
                                    static_cast<uint64_t>(static_cast<uint32_t>(label)));
    Shuffle(indices, random);
    AddToSplits(indices, {.validation = validation[c], .test = test[c]}, splits);
    ++c;
  }
  SortAll(splits);
  return splits;
}

SplitKeys KeysOf(const SplitKeys& keys, std::span<const int64_t> samples) {
  SplitKeys some{.group_names = keys.group_names};
  const auto take = [&](const auto& from, auto& into) {
    if (from.empty()) return;
    for (const int64_t sample : samples) into.push_back(from[static_cast<size_t>(sample)]);
  };
  take(keys.classes, some.classes);
  take(keys.groups, some.groups);
  take(keys.times, some.times);
  return some;
}

Result<Splits> GroupedSplit(const SplitKeys& keys, const SplitOptions& options) {
  const auto size = static_cast<int64_t>(keys.groups.size());
  LOCKSTEP_TRY_ASSIGN(const Counts counts, CountsOf(size, options));
  const std::vector<SampleGroup> groups = GroupSamples(keys.groups, keys.classes);
  std::vector<int64_t> wanted = {size - counts.validation - counts.test};
  std::vector<std::vector<int64_t> Splits::*> lists = {&Splits::train};
  if (counts.validation > 0) {
    wanted.push_back(counts.validation);
    lists.push_back(&Splits::validation);
  }
  if (counts.test > 0) {
    wanted.push_back(counts.test);
    lists.push_back(&Splits::test);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    if (wanted.size() == 1 || groups[g].size <= wanted[0]) continue;
    return Status::Invalid("group " + NameOf(g, keys) + " alone holds " +
                           std::to_string(groups[g].size) + " of " + std::to_string(size) +
                           " samples, more than the " + std::to_string(wanted[0]) +
                           " to train on; make the other parts smaller or split without groups");
  }
  if (const int64_t held = HeldGroups(groups); held < std::ssize(wanted)) {
    return Status::Invalid(std::to_string(held) + " groups are too few for " +
                           std::to_string(wanted.size()) +
                           " parts; ask for fewer parts or split without groups");
  }

  std::vector<int32_t> part =
      AssignGroups(groups, wanted, Random(options.seed, StreamOf("grouped split")));
  LOCKSTEP_TRY(TrainOnEveryClass(groups, part));
  Splits splits;
  for (int64_t i = 0; i < size; ++i) {
    const auto group = static_cast<size_t>(keys.groups[static_cast<size_t>(i)]);
    (splits.*lists[static_cast<size_t>(part[group])]).push_back(i);
  }
  return splits;
}

Result<Splits> TimeSplit(std::span<const double> times, const SplitOptions& options) {
  const auto size = static_cast<int64_t>(times.size());
  LOCKSTEP_TRY_ASSIGN(const Counts counts, CountsOf(size, options));
  std::vector<int64_t> sizes = {size - counts.validation - counts.test};
  if (counts.validation > 0) sizes.push_back(counts.validation);
  if (counts.test > 0) sizes.push_back(counts.test);
  LOCKSTEP_TRY_ASSIGN(std::vector<std::vector<int64_t>> blocks, CutByTime(times, sizes));
  Splits splits{.train = std::move(blocks.front()), .validation = {}, .test = {}};
  if (counts.validation > 0) splits.validation = std::move(blocks[1]);
  if (counts.test > 0) splits.test = std::move(blocks.back());
  SortAll(splits);
  return splits;
}

Result<Splits> SplitBy(int64_t size, const SplitKeys& keys, const SplitOptions& options) {
  const auto fits = [&](const auto& list) { return list.empty() || std::ssize(list) == size; };
  LOCKSTEP_CHECK(fits(keys.classes) && fits(keys.groups) && fits(keys.times), "a key each");
  if (!keys.times.empty() && !keys.groups.empty())
    return Status::Invalid("samples are split by time or by group, not by both");
  if (!keys.times.empty()) return TimeSplit(keys.times, options);
  if (!keys.groups.empty()) return GroupedSplit(keys, options);
  if (!keys.classes.empty()) return StratifiedSplit(keys.classes, options);
  return Split(size, options);
}

}  // namespace lockstep
