// That the library's optimizers pass every check, and that each check finds the fault it is for.
#include "models/testing/check_optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "models/testing/count_heap.h"

namespace lockstep::inline v0_1 {
namespace {

using lockstep::checks::CheckOptimizer;
using lockstep::checks::CheckOptions;
using lockstep::checks::CheckReport;
using lockstep::checks::HeapCalls;
using lockstep::checks::kCountsHeap;

CheckOptions Counting() {
  CheckOptions options;
  if (kCountsHeap) options.heap_calls = HeapCalls;
  return options;
}

TEST(CheckOptimizerTest, TheLibrarysPass) {
  const CheckReport adam =
      CheckOptimizer([] { return std::make_unique<AdamW>(AdamWOptions{.lr = 1e-2}); }, Counting());
  EXPECT_TRUE(adam.ok()) << adam.ToString();
  const CheckReport sgd = CheckOptimizer(
      [] { return std::make_unique<Sgd>(SgdOptions{.lr = 1e-2, .momentum = 0.9}); }, Counting());
  EXPECT_TRUE(sgd.ok()) << sgd.ToString();
  EXPECT_EQ(sgd.done.size(), kCountsHeap ? 8u : 7u);
}

enum class Fault { kNone, kFrozen, kWhole, kScale, kForgets, kAllocates, kSaysBound, kThreads };

// Sgd behind someone who makes a mistake.
class Broken final : public Optimizer {
 public:
  explicit Broken(Fault fault) : fault_(fault), sgd_({.lr = 1e-2, .momentum = 0.9}) {}
  std::string kind() const override { return "Broken"; }
  using Optimizer::Bind;
  Status Bind(Context& ctx, const ParameterSet& parameters,
              std::span<const IndexRange> floats) override {
    // All of the parameters, whatever part it is to hold.
    return fault_ == Fault::kWhole ? sgd_.Bind(ctx, parameters)
                                   : sgd_.Bind(ctx, parameters, floats);
  }
  bool bound() const override { return fault_ == Fault::kSaysBound || sgd_.bound(); }
  std::span<const IndexRange> held() const override { return sgd_.held(); }
  Status Update(Context& ctx, const ParameterSet& parameters, double learning_rate,
                double grad_scale) override {
    const std::vector<float> allocated(fault_ == Fault::kAllocates ? 100 : 0);
    LOCKSTEP_TRY(
        sgd_.Update(ctx, parameters, learning_rate, fault_ == Fault::kScale ? 1.0 : grad_scale));
    if (fault_ == Fault::kFrozen) parameters.values[0] += 0.1f;
    if (fault_ == Fault::kThreads) parameters.values[0] += 0.1f * static_cast<float>(ctx.threads());
    return Status::Ok();
  }
  double learning_rate() const override { return sgd_.learning_rate(); }
  bool never_fails() const override { return true; }
  Status set_learning_rate(double rate) override { return sgd_.set_learning_rate(rate); }
  int64_t step_count() const override { return sgd_.step_count(); }
  void set_step_count(int64_t count) override { sgd_.set_step_count(count); }
  std::vector<OptimizerState> states() const override {
    return fault_ == Fault::kForgets ? std::vector<OptimizerState>() : sgd_.states();
  }

 private:
  Fault fault_;
  Sgd sgd_;
};

TEST(CheckOptimizerTest, FaultsAreFound) {
  const auto expect = [](Fault fault, const char* check) {
    const CheckReport report =
        CheckOptimizer([fault] { return std::make_unique<Broken>(fault); }, Counting());
    EXPECT_EQ(report.ok(), fault == Fault::kNone) << report.ToString();
    if (fault != Fault::kNone) {
      EXPECT_TRUE(report.Failed(check)) << check << ":\n" << report.ToString();
    }
  };
  expect(Fault::kNone, "");
  expect(Fault::kFrozen, "frozen");
  expect(Fault::kWhole, "parts");
  expect(Fault::kScale, "scale");
  expect(Fault::kForgets, "files");
  expect(Fault::kThreads, "threads");
  expect(Fault::kSaysBound, "refusals");
  if (kCountsHeap) expect(Fault::kAllocates, "allocations");
}

}  // namespace
}  // namespace lockstep
