#include "engine/base/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace lockstep::inline v0_1 {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Status::Invalid(std::to_string(n) + " is odd");
  return n / 2;
}

Result<int> Quarter(int n) {
  LOCKSTEP_TRY_ASSIGN(const int half, Half(n));
  LOCKSTEP_TRY_ASSIGN(const int quarter, Half(half));
  return quarter;
}

Status Check(int n) {
  LOCKSTEP_TRY(Half(n).status());
  return Status::Ok();
}

TEST(Status, TravelsUpWithItsMessage) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(6).status().message(), "3 is odd");
  EXPECT_EQ(Quarter(6).status().code(), Code::kInvalid);
  EXPECT_TRUE(Check(2).ok());
  EXPECT_EQ(Check(3).At("file").message(), "file: 3 is odd");
  EXPECT_TRUE(Check(2).At("file").ok());
}

TEST(Result, HoldsWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  ASSERT_TRUE(result.ok());
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 5);
}

TEST(Result, WithoutAValueFailsACheckThatSaysWhy) {
  const Result<int> failed = Half(1);
  try {
    (void)failed.value();
    FAIL();
  } catch (const CheckFailure& failure) {
    EXPECT_NE(std::string(failure.what()).find("1 is odd"), std::string::npos);
  }
}

TEST(Check, NamesBothValues) {
  try {
    LOCKSTEP_CHECK_EQ(2 + 2, 5);
    FAIL();
  } catch (const CheckFailure& failure) {
    EXPECT_NE(std::string(failure.what()).find("4 against 5"), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep
