#include "engine/data/assign_groups.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/shuffle.h"

namespace lockstep::inline v0_1 {
namespace {

// Rounds of moves; two or three find nearly all there is to gain.
constexpr int kRounds = 8;
// Exchanges tried in a round, over all groups and beginnings: what a second allows.
constexpr int64_t kExchanges = int64_t{1} << 18;
// Beginnings of which the best is taken, where groups are few: each may end in a place that no
// single move leaves.
constexpr int kBeginnings = 16;
constexpr int64_t kFewGroups = 4096;

class Assignment {
 public:
  Assignment(std::span<const SampleGroup> groups, std::span<const int64_t> wanted)
      : groups_(groups), wanted_(wanted), part_(groups.size(), -1), held_(wanted.size()) {
    int64_t n = 0;
    std::vector<int64_t> counts(1);
    for (const SampleGroup& group : groups) {
      n += group.size;
      for (const auto& [label, count] : group.classes) {
        const auto c = static_cast<size_t>(label);
        if (c >= counts.size()) counts.resize(c + 1);
        counts[c] += count;
      }
    }
    for (const int64_t count : counts)
      shares_.push_back(static_cast<double>(count) / static_cast<double>(n));
    sizes_.resize(wanted.size());
    counts_.resize(wanted.size() * shares_.size());
  }

  int32_t part(size_t group) const { return part_[group]; }
  int64_t held(int32_t part) const { return held_[static_cast<size_t>(part)]; }
  int64_t lacks(int32_t part) const {
    return wanted_[static_cast<size_t>(part)] - sizes_[static_cast<size_t>(part)];
  }

  void Put(size_t group, int32_t part) {
    if (part_[group] >= 0) Count(group, part_[group], -1);
    part_[group] = part;
    Count(group, part, +1);
  }

  // The sum that is to be low.
  double sum() const {
    double sum = 0.0;
    for (size_t p = 0; p < wanted_.size(); ++p) {
      const auto wanted = static_cast<double>(wanted_[p]);
      const double off = static_cast<double>(sizes_[p]) - wanted;
      sum += static_cast<double>(shares_.size()) * off * off;
      for (size_t c = 0; c < shares_.size(); ++c) {
        const double of_class =
            static_cast<double>(counts_[p * shares_.size() + c]) - wanted * shares_[c];
        sum += of_class * of_class;
      }
    }
    return sum;
  }
  // What putting the group there adds to it.
  double Gain(size_t group, int32_t part) const {
    return Change(group, part_[group], -1.0) + Change(group, part, +1.0);
  }

 private:
  void Count(size_t group, int32_t part, int64_t sign) {
    const auto p = static_cast<size_t>(part);
    held_[p] += sign;
    sizes_[p] += sign * groups_[group].size;
    for (const auto& [label, count] : groups_[group].classes)
      counts_[p * shares_.size() + static_cast<size_t>(label)] += sign * count;
  }

  // (a + k)^2 - a^2 for each term, where a is how far it is from what is wanted.
  double Change(size_t group, int32_t part, double sign) const {
    const auto p = static_cast<size_t>(part);
    const auto wanted = static_cast<double>(wanted_[p]);
    const auto change = [sign](double a, int64_t k) {
      const double moved = sign * static_cast<double>(k);
      return moved * (2.0 * a + moved);
    };
    double sum = static_cast<double>(shares_.size()) *
                 change(static_cast<double>(sizes_[p]) - wanted, groups_[group].size);
    for (const auto& [label, count] : groups_[group].classes) {
      const auto c = static_cast<size_t>(label);
      sum +=
          change(static_cast<double>(counts_[p * shares_.size() + c]) - wanted * shares_[c], count);
    }
    return sum;
  }

  std::span<const SampleGroup> groups_;
  std::span<const int64_t> wanted_;
  std::vector<double> shares_;   // of each class among all samples
  std::vector<int32_t> part_;    // by group
  std::vector<int64_t> held_;    // groups, by part
  std::vector<int64_t> sizes_;   // by part
  std::vector<int64_t> counts_;  // (parts, classes)
};

// Gains are sums of squares of whole numbers and of shares: what is below this is rounding.
constexpr double kLeastGain = -1e-6;

bool TryMoves(size_t group, int32_t parts, Assignment& assigned) {
  if (assigned.held(assigned.part(group)) < 2) return false;
  int32_t best = assigned.part(group);
  double gain = kLeastGain;
  for (int32_t part = 0; part < parts; ++part) {
    if (part == assigned.part(group)) continue;
    if (const double g = assigned.Gain(group, part); g < gain) {
      gain = g;
      best = part;
    }
  }
  if (best == assigned.part(group)) return false;
  assigned.Put(group, best);
  return true;
}

bool TryExchange(size_t a, size_t b, Assignment& assigned) {
  const int32_t of_a = assigned.part(a), of_b = assigned.part(b);
  if (of_a == of_b) return false;
  const double first = assigned.Gain(a, of_b);
  assigned.Put(a, of_b);
  if (first + assigned.Gain(b, of_a) < kLeastGain) {
    assigned.Put(b, of_a);
    return true;
  }
  assigned.Put(a, of_a);
  return false;
}

Assignment AssignOnce(std::span<const SampleGroup> groups, std::span<const int64_t> wanted,
                      Random& random) {
  const auto parts = static_cast<int32_t>(wanted.size());
  std::vector<size_t> order(groups.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Shuffle(order, random);

  Assignment assigned(groups, wanted);
  for (const size_t group : order) {
    int32_t part = 0;
    for (int32_t p = 1; p < parts; ++p) {
      if (assigned.lacks(p) > assigned.lacks(part)) part = p;
    }
    assigned.Put(group, part);
  }
  // A part that wants fewer samples than the others lack all the time: the smallest group there is.
  for (int32_t part = 0; part < parts; ++part) {
    if (assigned.held(part) > 0) continue;
    size_t smallest = groups.size();
    for (const size_t group : order) {
      if (assigned.held(assigned.part(group)) < 2) continue;
      if (smallest == groups.size() || groups[group].size < groups[smallest].size) smallest = group;
    }
    assigned.Put(smallest, part);
  }

  const auto count = static_cast<int64_t>(groups.size());
  const int64_t share = kExchanges / (count * (count > kFewGroups ? 1 : kBeginnings));
  const int64_t tries = std::clamp<int64_t>(share, 4, std::max<int64_t>(4, count));
  for (int round = 0; round < kRounds; ++round) {
    bool better = false;
    for (const size_t group : order) {
      better |= TryMoves(group, parts, assigned);
      for (int64_t i = 0; i < tries; ++i) {
        // All others where that is not more, so that small cases miss none.
        const auto other = static_cast<size_t>(
            tries >= count ? static_cast<uint64_t>(i) % static_cast<uint64_t>(count)
                           : random.Below(static_cast<uint64_t>(count)));
        better |= TryExchange(group, other, assigned);
      }
    }
    if (!better) break;
  }
  return assigned;
}

}  // namespace

std::vector<SampleGroup> GroupSamples(std::span<const int32_t> of_sample,
                                      std::span<const int32_t> classes) {
  LOCKSTEP_CHECK(classes.empty() || classes.size() == of_sample.size(), "a class for each sample");
  std::vector<SampleGroup> groups;
  for (size_t i = 0; i < of_sample.size(); ++i) {
    LOCKSTEP_CHECK_GE(of_sample[i], 0);
    const auto g = static_cast<size_t>(of_sample[i]);
    if (g >= groups.size()) groups.resize(g + 1);
    const int32_t label = classes.empty() ? 0 : classes[i];
    ++groups[g].size;
    auto& counts = groups[g].classes;
    const auto at = std::lower_bound(counts.begin(), counts.end(), std::pair(label, int64_t{0}));
    if (at != counts.end() && at->first == label) {
      ++at->second;
    } else {
      counts.insert(at, {label, 1});
    }
  }
  return groups;
}

std::vector<int32_t> AssignGroups(std::span<const SampleGroup> groups,
                                  std::span<const int64_t> wanted, Random random) {
  // Groups that hold nothing would fill parts that must not be empty.
  std::vector<SampleGroup> held;
  for (const SampleGroup& group : groups) {
    if (group.size > 0) held.push_back(group);
  }
  LOCKSTEP_CHECK_GE(held.size(), wanted.size());
  Assignment best = AssignOnce(held, wanted, random);
  for (int i = 1; i < kBeginnings && std::ssize(held) <= kFewGroups; ++i) {
    Assignment other = AssignOnce(held, wanted, random);
    if (other.sum() < best.sum() + kLeastGain) best = std::move(other);
  }
  std::vector<int32_t> parts(groups.size(), -1);
  for (size_t g = 0, next = 0; g < groups.size(); ++g) {
    if (groups[g].size > 0) parts[g] = best.part(next++);
  }
  return parts;
}

int64_t HeldGroups(std::span<const SampleGroup> groups) {
  return std::count_if(groups.begin(), groups.end(),
                       [](const SampleGroup& group) { return group.size > 0; });
}

}  // namespace lockstep
