#include "engine/optim/flat_optimizer.h"

#include <fnmatch.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/text.h"
#include "engine/optim/finite.h"
#include "engine/optim/flat_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

bool Matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

bool IsNonNegative(double value) { return std::isfinite(value) && value >= 0.0; }

Status CheckGroup(const ParameterGroup& group, std::span<const ParameterInfo> infos) {
  if (group.patterns.empty()) return Status::Invalid("it has no patterns, so it matches nothing");
  if (!IsNonNegative(group.learning_rate_scale)) {
    return Status::Invalid("learning_rate_scale must be 0 or more, not " +
                           std::to_string(group.learning_rate_scale));
  }
  if (!std::isfinite(group.weight_decay)) {
    return Status::Invalid("weight_decay must be finite, not " +
                           std::to_string(group.weight_decay));
  }
  for (const std::string& pattern : group.patterns) {
    const bool found = std::any_of(infos.begin(), infos.end(), [&](const ParameterInfo& info) {
      return Matches(pattern, info.name);
    });
    if (!found) {
      return Status::Invalid("no parameter matches '" + pattern + "'" +
                             (infos.empty() ? "" : "; names look like " + infos[0].name));
    }
  }
  return Status::Ok();
}

}  // namespace

FlatOptimizer::FlatOptimizer(Common common, std::vector<std::string> state_names)
    : common_(std::move(common)), state_names_(std::move(state_names)) {
  LOCKSTEP_CHECK_LE(state_names_.size(), kMaxStates);
}

Status FlatOptimizer::CheckRate(double learning_rate) const {
  if (IsNonNegative(learning_rate)) return Status::Ok();
  return Status::Invalid("the learning rate must be 0 or more, not " + TextOf(learning_rate));
}

Status FlatOptimizer::set_learning_rate(double learning_rate) {
  LOCKSTEP_TRY(CheckRate(learning_rate).At(kind()));
  common_.learning_rate = learning_rate;
  return Status::Ok();
}

Status FlatOptimizer::CheckCommon(const ParameterSet& parameters) const {
  if (!IsNonNegative(common_.learning_rate)) {
    return Status::Invalid("lr must be 0 or more, not " + std::to_string(common_.learning_rate));
  }
  if (!IsNonNegative(common_.weight_decay)) {
    return Status::Invalid("weight_decay must be 0 or more, not " +
                           std::to_string(common_.weight_decay));
  }
  for (size_t i = 0; i < common_.groups.size(); ++i) {
    LOCKSTEP_TRY(CheckGroup(common_.groups[i], parameters.infos)
                     .At("parameter group " + std::to_string(i + 1)));
  }
  if (parameters.gradients.size() != parameters.values.size()) {
    return Status::Invalid("the network was bound for evaluation only: it has no gradients");
  }
  return Status::Ok();
}

FlatOptimizer::Setting FlatOptimizer::SettingOf(const ParameterInfo& info) const {
  Setting setting;
  setting.weight_decay =
      info.decay == Decay::kYes || common_.decay_all ? common_.weight_decay : 0.0;
  for (const ParameterGroup& group : common_.groups) {
    const bool matches =
        std::any_of(group.patterns.begin(), group.patterns.end(),
                    [&](const std::string& pattern) { return Matches(pattern, info.name); });
    if (!matches) continue;
    setting.learning_rate_scale = group.learning_rate_scale;
    if (group.weight_decay >= 0.0) setting.weight_decay = group.weight_decay;
    break;
  }
  return setting;
}

// Parameters that follow one another under the same setting become one piece, with the padding
// between them; pieces end where blocks and ranges do. Frozen parameters are in no piece.
void FlatOptimizer::CutIntoPieces(int64_t floats) {
  settings_.clear();
  pieces_.clear();
  first_piece_.clear();
  std::vector<ParameterInfo> infos = infos_;
  std::sort(infos.begin(), infos.end(),
            [](const ParameterInfo& a, const ParameterInfo& b) { return a.offset < b.offset; });
  std::vector<size_t> settings(infos.size());
  for (size_t i = 0; i < infos.size(); ++i) {
    if (infos[i].frozen) continue;
    const Setting setting = SettingOf(infos[i]);
    const auto known = std::find(settings_.begin(), settings_.end(), setting);
    settings[i] = static_cast<size_t>(known - settings_.begin());
    if (known == settings_.end()) settings_.push_back(setting);
  }
  int64_t held_begin = 0;  // of the range among what is held
  for (const IndexRange& held : held_) {
    for (size_t i = 0; i < infos.size(); ++i) {
      if (infos[i].frozen) continue;
      const int64_t after = i + 1 < infos.size() ? infos[i + 1].offset : floats;
      const int64_t to_held = held_begin - held.begin;  // from a place in the flat arrays
      const int64_t end = std::min(after, held.end) + to_held;
      for (int64_t begin = std::max(infos[i].offset, held.begin) + to_held; begin < end;) {
        const int64_t stop = std::min(end, (begin / kFlatBlock + 1) * kFlatBlock);
        const bool continues = !pieces_.empty() && pieces_.back().setting == settings[i] &&
                               pieces_.back().end == begin && begin % kFlatBlock != 0 &&
                               begin != held_begin;
        if (continues) {
          pieces_.back().end = stop;
        } else {
          pieces_.push_back({begin, stop, begin - to_held, settings[i]});
        }
        begin = stop;
      }
    }
    held_begin += held.size();
  }
  const int64_t blocks = FlatBlocks(held_floats_);
  size_t piece = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    first_piece_.push_back(piece);
    while (piece < pieces_.size() && pieces_[piece].begin < (block + 1) * kFlatBlock) ++piece;
  }
  first_piece_.push_back(piece);
}

Status FlatOptimizer::Bind(Context& ctx, const ParameterSet& parameters,
                           std::span<const IndexRange> floats) {
  if (bound()) return Status::Invalid(kind() + " is bound to a network already");
  LOCKSTEP_TRY(CheckOptions().At(kind()));
  LOCKSTEP_TRY(CheckCommon(parameters).At(kind()));
  const auto all = static_cast<int64_t>(parameters.values.size());
  int64_t before = 0, held = 0;
  for (const IndexRange& range : floats) {
    LOCKSTEP_CHECK(before <= range.begin && range.begin <= range.end && range.end <= all,
                   "ranges out of order, or beyond the parameters");
    before = range.end;
    held += range.size();
  }
  std::vector<PageMemory> states;
  for (size_t i = 0; i < state_names_.size(); ++i) states.emplace_back(ctx, held * 4);
  infos_.assign(parameters.infos.begin(), parameters.infos.end());
  held_.assign(floats.begin(), floats.end());
  held_floats_ = held;
  CutIntoPieces(all);
  Prepare(settings_, 1, learning_rate(), 1.0);  // sizes the factors, so that no update allocates
  states_ = std::move(states);
  if (parameters.identity != nullptr) identity_ = *parameters.identity;
  floats_ = all;  // last: it says that this is bound
  return Status::Ok();
}

Status FlatOptimizer::CheckUpdate(const ParameterSet& parameters, double learning_rate) const {
  const bool same =
      identity_ == nullptr || parameters.identity == nullptr || identity_ == *parameters.identity;
  if (!same || std::ssize(parameters.values) != floats_ ||
      std::ssize(parameters.gradients) != floats_) {
    return Status::Invalid(kind() +
                           " was bound to another network, whose moments it remembers: give each "
                           "network an optimizer of its own (ReadInto takes moments from a file)");
  }
  return CheckRate(learning_rate).At(kind());
}

Status FlatOptimizer::Update(Context& ctx, const ParameterSet& parameters, double learning_rate,
                             double grad_scale) {
  if (!bound()) return Status::Invalid(kind() + " is bound to no network: Bind comes first");
  if (!std::isfinite(grad_scale))
    return Status::Invalid(kind() + ": grad_scale must be finite, not " + TextOf(grad_scale));
  LOCKSTEP_TRY(CheckUpdate(parameters, learning_rate));
  Prepare(settings_, step_count_ + 1, learning_rate, common_.maximize ? -grad_scale : grad_scale);
  ++step_count_;

  std::array<float*, kMaxStates> states{};
  for (size_t s = 0; s < states_.size(); ++s) {
    states[s] = reinterpret_cast<float*>(states_[s].data());
  }
  const auto touched = static_cast<int64_t>(3 + 2 * states_.size());
  std::atomic<bool> finite{true};
  ForFlatBlocks(ctx, held_floats_, touched, [&](int64_t block, int64_t, int64_t) {
    const auto first = first_piece_[static_cast<size_t>(block)];
    const auto last = first_piece_[static_cast<size_t>(block) + 1];
    for (size_t i = first; i < last; ++i) {
      const Piece& piece = pieces_[i];
      Range range{.gradients = parameters.gradients.data() + piece.offset,
                  .size = piece.end - piece.begin,
                  .values = parameters.values.data() + piece.offset,
                  .states = {}};
      for (size_t s = 0; s < states_.size(); ++s) range.states[s] = states[s] + piece.begin;
      if (!UpdateRange(piece.setting, range)) finite.store(false, std::memory_order_relaxed);
    }
  });
  if (finite.load()) return Status::Ok();
  const Status status = CheckGradientsFinite(parameters);
  LOCKSTEP_CHECK(!status.ok(), "the padding between gradients must be zero");
  return status;
}

// Of a parameter that is held in part: those parts, flat; of one that is not held: empty ones.
std::vector<OptimizerState> FlatOptimizer::states() const {
  std::vector<OptimizerState> states;
  for (const ParameterInfo& info : infos_) {
    if (info.frozen) continue;
    const size_t before = states.size();
    int64_t held_begin = 0;  // of the next range among what is held
    for (const IndexRange& held : held_) {
      const int64_t first = held_begin;
      held_begin += held.size();
      const int64_t begin = std::max(info.offset, held.begin);
      const int64_t end = std::min(info.offset + info.shape.size(), held.end);
      if (begin >= end) continue;
      const Shape shape = end - begin == info.shape.size() ? info.shape : Shape{end - begin};
      for (size_t s = 0; s < states_.size(); ++s) {
        float* data = reinterpret_cast<float*>(states_[s].data()) + first + begin - held.begin;
        states.push_back(
            {info.name, state_names_[s], Tensor(data, shape), info.shape, begin - info.offset});
      }
    }
    if (states.size() != before) continue;
    for (const std::string& name : state_names_) {
      states.push_back(
          {info.name, name, Tensor(static_cast<float*>(nullptr), Shape{0}), info.shape, 0});
    }
  }
  return states;
}

}  // namespace lockstep
