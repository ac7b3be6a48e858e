#include "tools/scale/measure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "engine/comm/agreement.h"
#include "tools/scale/energy.h"

namespace lockstep::inline v0_1::scale {
namespace {

double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Sitting {
 public:
  Sitting(std::span<const std::function<Status()>> steps, const MeasureOptions& options,
          Communicator* communicator)
      : steps_(steps),
        options_(options),
        now_(options.now ? options.now : SteadySeconds),
        communicator_(communicator != nullptr && communicator->size() > 1 ? communicator : nullptr),
        timings_(steps.size()) {}

  Result<std::vector<Timing>> Run() {
    for (size_t point = 0; point < steps_.size(); ++point) LOCKSTEP_TRY(WarmUp(point));
    const auto rounds = static_cast<size_t>(options_.repetitions);
    for (size_t round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < steps_.size(); ++i) LOCKSTEP_TRY(Measure((round + i) % steps_.size()));
    }
    for (Timing& timing : timings_) {
      const auto steps =
          static_cast<double>(timing.seconds.size()) * static_cast<double>(timing.steps_per_round);
      timing.waited_seconds /= steps;
      timing.sent_bytes /= steps;
      if (timing.joules) *timing.joules /= steps;
    }
    return std::move(timings_);
  }

 private:
  struct Turn {
    double seconds = 0.0, waited = 0.0, sent = 0.0;
  };

  // Steps that nobody keeps; the last one says how many a round takes.
  Status WarmUp(size_t point) {
    double step = 0.0;
    for (int i = 0; i < std::max(1, options_.warm_up); ++i) {
      const double start = now_();
      LOCKSTEP_TRY(steps_[point]());
      step = now_() - start;
    }
    LOCKSTEP_TRY_ASSIGN(const Turn slowest, OverRanks({.seconds = step}));
    const double share = options_.seconds / options_.repetitions;
    const double fitting = slowest.seconds > 0.0 ? share / slowest.seconds : 1.0;
    timings_[point].steps_per_round =
        static_cast<int64_t>(std::clamp(std::round(fitting), 1.0, 1e6));
    return Status::Ok();
  }

  Status Measure(size_t point) {
    Timing& timing = timings_[point];
    LOCKSTEP_TRY(steps_[point]());
    if (communicator_ != nullptr) LOCKSTEP_TRY(communicator_->Barrier());
    const double waited = Waited(), sent = Sent();
    energy_.Start();
    const double start = now_();
    for (int64_t i = 0; i < timing.steps_per_round; ++i) LOCKSTEP_TRY(steps_[point]());
    const double taken = now_() - start;
    const std::optional<double> joules = energy_.Joules();
    LOCKSTEP_TRY_ASSIGN(
        const Turn all,
        OverRanks({.seconds = taken, .waited = Waited() - waited, .sent = Sent() - sent}));
    timing.seconds.push_back(all.seconds / static_cast<double>(timing.steps_per_round));
    timing.waited_seconds += all.waited;
    timing.sent_bytes += all.sent;
    if (joules) timing.joules = timing.joules.value_or(0.0) + *joules;
    return Status::Ok();
  }

  double Waited() const { return communicator_ == nullptr ? 0.0 : communicator_->waited_seconds(); }
  double Sent() const { return communicator_ == nullptr ? 0.0 : communicator_->sent_bytes(); }

  // The longest time, and the means of the rest.
  Result<Turn> OverRanks(const Turn& mine) {
    if (communicator_ == nullptr) return mine;
    LOCKSTEP_TRY_ASSIGN(const std::vector<Turn> all,
                        GatherAll(*communicator_, std::span(&mine, 1)));
    const auto ranks = static_cast<double>(all.size());
    Turn turn;
    for (const Turn& one : all) {
      turn.seconds = std::max(turn.seconds, one.seconds);
      turn.waited += one.waited / ranks;
      turn.sent += one.sent / ranks;
    }
    return turn;
  }

  std::span<const std::function<Status()>> steps_;
  const MeasureOptions& options_;
  std::function<double()> now_;
  Communicator* communicator_;
  std::vector<Timing> timings_;
  EnergyMeter energy_;
};

}  // namespace

double Timing::mean_seconds() const {
  return seconds.empty() ? 0.0
                         : std::accumulate(seconds.begin(), seconds.end(), 0.0) /
                               static_cast<double>(seconds.size());
}

Result<std::vector<Timing>> MeasureTogether(std::span<const std::function<Status()>> steps,
                                            const MeasureOptions& options,
                                            Communicator* communicator) {
  return Sitting(steps, options, communicator).Run();
}

}  // namespace lockstep::scale
