// Beyond parity with PyTorch (parity_test.cc): ends, bounds and bad arguments.
#include "engine/optim/schedule.h"

#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

const Schedule kAll[] = {ConstantSchedule{},
                         StepSchedule{.every = 7, .gamma = 0.5},
                         CosineSchedule{.warmup_steps = 0},
                         CosineSchedule{.floor = 0.1},
                         OneCycleSchedule{},
                         OneCycleSchedule{.pct_start = 0.0},
                         OneCycleSchedule{.pct_start = 1.0}};

TEST(ScheduleTest, FactorsAreSharesInRunsOfAnyLength) {
  for (const Schedule& schedule : kAll) {
    for (const int64_t total : {1, 2, 3, 10, 1000}) {
      ASSERT_TRUE(CheckSchedule(schedule, total).ok());
      for (int64_t step = 0; step < total + 3; ++step) {
        const double factor = ScheduleFactor(schedule, step, total);
        EXPECT_TRUE(factor >= 0.0 && factor <= 1.0)
            << schedule.index() << " " << step << "/" << total << ": " << factor;
      }
    }
  }
}

TEST(ScheduleTest, StaysWhereItEnded) {
  for (const Schedule& schedule : kAll) {
    EXPECT_EQ(ScheduleFactor(schedule, 1'000'000, 100), ScheduleFactor(schedule, 100, 100));
  }
}

TEST(ScheduleTest, CosineWarmsUpLinearlyAndEndsAtItsFloor) {
  const CosineSchedule schedule{.warmup_steps = 4, .floor = 0.2};
  for (int64_t step = 0; step < 4; ++step) {
    EXPECT_DOUBLE_EQ(ScheduleFactor(schedule, step, 24), 0.2 * static_cast<double>(step + 1));
  }
  EXPECT_EQ(ScheduleFactor(schedule, 4, 24), 1.0);
  EXPECT_NEAR(ScheduleFactor(schedule, 14, 24), 0.6, 1e-15);
  EXPECT_NEAR(ScheduleFactor(schedule, 24, 24), 0.2, 1e-15);
}

TEST(ScheduleTest, OneCycleTouchesItsThreeRates) {
  const OneCycleSchedule schedule{.pct_start = 0.3, .div_factor = 20.0, .final_div_factor = 100.0};
  EXPECT_NEAR(ScheduleFactor(schedule, 0, 100), 0.05, 1e-15);
  EXPECT_NEAR(ScheduleFactor(schedule, 29, 100), 1.0, 1e-15);
  EXPECT_NEAR(ScheduleFactor(schedule, 99, 100), 0.0005, 1e-15);
}

// The cosine is our own: against the C library's.
TEST(ScheduleTest, CosineIsACosine) {
  for (int64_t step = 0; step <= 10'000; ++step) {
    const double want = 0.5 * (1.0 + std::cos(M_PI * static_cast<double>(step) / 10'000.0));
    EXPECT_NEAR(ScheduleFactor(CosineSchedule{}, step, 10'000), want, 1e-15) << step;
  }
}

TEST(ScheduleTest, ErrorsNameTheArgument) {
  const auto error = [](const Schedule& schedule, int64_t total) {
    const Status status = CheckSchedule(schedule, total);
    EXPECT_EQ(status.code(), Code::kInvalid);
    return status.message();
  };
  using testing::HasSubstr;
  EXPECT_THAT(error(ConstantSchedule{}, 0), HasSubstr("at least one step"));
  EXPECT_THAT(error(StepSchedule{.every = 0}, 10), HasSubstr("'every'"));
  EXPECT_THAT(error(StepSchedule{.gamma = -1.0}, 10), HasSubstr("'gamma'"));
  EXPECT_THAT(error(CosineSchedule{.warmup_steps = 10}, 10), HasSubstr("'warmup_steps'"));
  EXPECT_THAT(error(CosineSchedule{.warmup_steps = -1}, 10), HasSubstr("'warmup_steps'"));
  EXPECT_THAT(error(CosineSchedule{.floor = 1.5}, 10), HasSubstr("'floor'"));
  EXPECT_THAT(error(CosineSchedule{.floor = NAN}, 10), HasSubstr("'floor'"));
  EXPECT_THAT(error(OneCycleSchedule{.pct_start = 2.0}, 10), HasSubstr("'pct_start'"));
  EXPECT_THAT(error(OneCycleSchedule{.div_factor = 0.0}, 10), HasSubstr("'div_factor'"));
  EXPECT_THAT(error(OneCycleSchedule{.final_div_factor = 0.0}, 10),
              HasSubstr("'final_div_factor'"));
}

}  // namespace
}  // namespace lockstep
