// What element-by-element optimizers share: parameter groups, states laid out like the parameters,
// and one parallel pass over the flat arrays.
#ifndef LOCKSTEP_ENGINE_OPTIM_FLAT_OPTIMIZER_H_
#define LOCKSTEP_ENGINE_OPTIM_FLAT_OPTIMIZER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/optim/optimizer.h"
#include "engine/parallel/context.h"
#include "engine/plan/page_memory.h"
#include "engine/plan/parameters.h"

namespace lockstep::inline v0_1 {

// Thread-compatible. A derived class says which states it keeps and how a range is updated.
class FlatOptimizer : public Optimizer {
 public:
  using Optimizer::Bind;
  Status Bind(Context& ctx, const ParameterSet& parameters,
              std::span<const IndexRange> floats) final;
  bool bound() const final { return floats_ >= 0; }
  std::span<const IndexRange> held() const final { return held_; }
  Status CheckUpdate(const ParameterSet& parameters, double learning_rate) const final;
  Status Update(Context& ctx, const ParameterSet& parameters, double learning_rate,
                double grad_scale = 1.0) final;

  double learning_rate() const final { return common_.learning_rate; }
  Status set_learning_rate(double learning_rate) final;
  int64_t step_count() const final { return step_count_; }
  void set_step_count(int64_t count) final { step_count_ = count; }
  std::vector<OptimizerState> states() const final;

 protected:
  static constexpr size_t kMaxStates = 3;

  struct Common {
    double learning_rate = 0.0;
    double weight_decay = 0.0;
    bool decay_all = false;
    bool maximize = false;
    std::vector<ParameterGroup> groups = {};
  };
  // What parameters that are updated together have in common.
  struct Setting {
    double learning_rate_scale = 1.0;
    double weight_decay = 0.0;
    bool operator==(const Setting&) const = default;
  };
  // A piece of the flat arrays; `states` in the order of the names, null beyond them.
  struct Range {
    const float* gradients;
    int64_t size;
    float* values;
    std::array<float*, kMaxStates> states;
  };

  FlatOptimizer(Common common, std::vector<std::string> state_names);

  // The first option that makes no sense, beyond those in Common.
  virtual Status CheckOptions() const = 0;
  // Once per update, on the calling thread: computes the factors of every setting, for the update
  // number `step` (from one). Allocates nothing once it has been called.
  virtual void Prepare(std::span<const Setting> settings, int64_t step, double learning_rate,
                       double grad_scale) = 0;
  // Updates `range` with the factors of settings[setting]; returns whether its gradients were
  // finite. Called on any thread.
  virtual bool UpdateRange(size_t setting, const Range& range) const = 0;

 private:
  // A run of floats, padding included, of one setting. What is held is counted as if the ranges
  // stood without a gap.
  struct Piece {
    int64_t begin = 0;  // among what is held
    int64_t end = 0;
    int64_t offset = 0;  // of `begin` in the flat arrays
    size_t setting = 0;
  };

  Status CheckRate(double learning_rate) const;
  Status CheckCommon(const ParameterSet& parameters) const;
  Setting SettingOf(const ParameterInfo& info) const;
  void CutIntoPieces(int64_t floats);

  Common common_;
  std::vector<std::string> state_names_;
  std::vector<ParameterInfo> infos_;
  std::vector<Setting> settings_;
  std::vector<Piece> pieces_;               // in order, none across the bounds of a block
  std::vector<size_t> first_piece_;         // of each block (flat_blocks.h); blocks + 1 entries
  std::vector<PageMemory> states_;          // by state_names_; of what is held
  int64_t floats_ = -1;                     // of the flat arrays; negative before Bind
  std::shared_ptr<const void> identity_{};  // of whose they are
  std::vector<IndexRange> held_;            // ranges of the flat arrays that are updated here
  int64_t held_floats_ = 0;                 // in all of them
  int64_t step_count_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_FLAT_OPTIMIZER_H_
