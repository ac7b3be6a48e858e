// Layers, losses, optimizers and communicators of someone else's, that fail where a test says so.
#ifndef LOCKSTEP_TESTS_ENGINE_TRAIN_FOREIGN_CODE_H_
#define LOCKSTEP_TESTS_ENGINE_TRAIN_FOREIGN_CODE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/comm/communicator.h"
#include "engine/layer.h"
#include "engine/loss.h"
#include "engine/optim/optimizer.h"

namespace lockstep::inline v0_1::toy {

enum class Fault {
  kNone,
  kDeclare,
  kAdmit,
  kCheck,
  kForward,
  kBackward,
  kWeight,
  kUpdate,
  kStatus
};

// Shared by a test and what it has bound.
struct Faults {
  Fault at = Fault::kNone;
  void Meet(Fault here) const {
    if (at == here) throw std::runtime_error("of someone else's");
  }
};

// y = x
class Passing final : public Layer {
 public:
  explicit Passing(const Faults& faults) : faults_(faults) {}
  std::string kind() const override { return "Passing"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    return graph.Add(Pass(faults_), {x});
  }

 private:
  class Pass final : public Operation {
   public:
    explicit Pass(const Faults& faults) : faults_(faults) {}
    Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                                const PlanOptions&) const override {
      faults_.Meet(Fault::kDeclare);
      return Declaration{.outputs = {x[0]}};
    }
    Result<Admission> Admit(const BatchCut&) const override {
      faults_.Meet(Fault::kAdmit);
      return Admission::kRun;
    }
    Status Check(const Step&, const Operands&) const override {
      faults_.Meet(Fault::kCheck);
      return Status::Ok();
    }
    void Forward(const Step&, const Operands& o) override {
      faults_.Meet(Fault::kForward);
      std::copy_n(o.x_f32(0), o.x(0).size(), o.y_f32());
    }
    void Backward(const Step&, const Operands& o) override {
      faults_.Meet(Fault::kBackward);
      if (!o.dx(0).empty()) std::copy_n(o.dy_f32(), o.dy().size(), o.dx_f32(0));
    }

   private:
    const Faults& faults_;
  };
  const Faults& faults_;
};

// sum (y - target)^2
class Squares final : public Loss {
 public:
  explicit Squares(const Faults& faults) : faults_(faults) {}
  std::string kind() const override { return "Squares"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override {
    return graph.AddLoss(name, Sum(faults_), {y, target}, factor);
  }

 private:
  class Sum final : public LossOperation {
   public:
    explicit Sum(const Faults& faults) : faults_(faults) {}
    Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                                const PlanOptions&) const override {
      return Declaration{.outputs = {TensorSpec{Shape{}, DType::kF64}}, .reads_x = {true, true}};
    }
    double Weight(const Step&, const Operands& o) const override {
      faults_.Meet(Fault::kWeight);
      return static_cast<double>(o.x(1).shape().batch());
    }
    void Forward(const Step&, const Operands& o) override {
      double sum = 0.0;
      for (int64_t i = 0; i < o.x(0).size(); ++i) {
        const double d = static_cast<double>(o.x_f32(0)[i]) - static_cast<double>(o.x_f32(1)[i]);
        sum += d * d;
      }
      *o.y().as<double>() = sum;
    }
    void Backward(const Step&, const Operands& o) override {
      const auto factor = static_cast<float>(2.0 * *o.dy().as<double>());
      for (int64_t i = 0; i < o.x(0).size(); ++i)
        o.dx_f32(0)[i] = factor * (o.x_f32(0)[i] - o.x_f32(1)[i]);
    }

   private:
    const Faults& faults_;
  };
  const Faults& faults_;
};

// Plain steps down the gradient, and how far it has come in all. It may stop half way.
class HalfWay final : public Optimizer {
 public:
  explicit HalfWay(const Faults& faults) : faults_(faults) {}
  std::string kind() const override { return "HalfWay"; }
  using Optimizer::Bind;
  Status Bind(Context&, const ParameterSet& parameters,
              std::span<const IndexRange> floats) override {
    held_.assign(floats.begin(), floats.end());
    way_.resize(parameters.values.size());
    return Status::Ok();
  }
  bool bound() const override { return !held_.empty(); }
  std::span<const IndexRange> held() const override { return held_; }
  Status Update(Context&, const ParameterSet& parameters, double learning_rate,
                double scale) override {
    ++steps_;
    const auto rate = static_cast<float>(learning_rate * scale);
    for (const IndexRange& range : held_) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        if (i == (range.begin + range.end) / 2) {
          faults_.Meet(Fault::kUpdate);
          if (faults_.at == Fault::kStatus) return Status::NonFinite("half way");
        }
        const auto at = static_cast<size_t>(i);
        parameters.values[at] -= rate * parameters.gradients[at];
        way_[at] += rate * parameters.gradients[at];
      }
    }
    return Status::Ok();
  }
  double learning_rate() const override { return rate_; }
  Status set_learning_rate(double rate) override {
    rate_ = rate;
    return Status::Ok();
  }
  int64_t step_count() const override { return steps_; }
  void set_step_count(int64_t count) override { steps_ = count; }
  std::vector<OptimizerState> states() const override {
    return {{"all", "way", Tensor(const_cast<float*>(way_.data()), {std::ssize(way_)})}};
  }

 private:
  const Faults& faults_;
  std::vector<IndexRange> held_;
  std::vector<float> way_;
  double rate_ = 1e-2;
  int64_t steps_ = 0;
};

// Rank 0 of two, the other of which holds just what this one does and has gradients of zero. Of its
// calls, number `fails_at` and all later ones fail.
class Failing final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  Result<std::unique_ptr<Exchange>> Book(std::string, std::vector<Outgoing>,
                                         std::vector<Incoming>) override {
    return std::unique_ptr<Exchange>(std::make_unique<Messages>(*this));
  }
  Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    LOCKSTEP_TRY(Call());
    std::vector<std::byte> copy(mine.begin(), mine.end());
    for (size_t r = 0; r < 2; ++r)
      std::copy(copy.begin(), copy.end(),
                all.begin() + static_cast<std::ptrdiff_t>(r * copy.size()));
    return Status::Ok();
  }
  Status Broadcast(std::span<std::byte>, int) override { return Call(); }

  int64_t calls = 0, fails_at = -1;

 private:
  Status Call() {
    const bool fails = fails_at >= 0 && calls >= fails_at;
    ++calls;
    return fails ? Status::Io("the other rank has gone") : Status::Ok();
  }
  class Messages final : public Exchange {
   public:
    explicit Messages(Failing& of) : of_(of) {}
    Status Start() override { return of_.Call(); }
    Result<bool> Done() override { return false; }
    Status Wait() override { return of_.Call(); }

   private:
    Failing& of_;
  };
};

}  // namespace lockstep::toy

#endif  // LOCKSTEP_TESTS_ENGINE_TRAIN_FOREIGN_CODE_H_
