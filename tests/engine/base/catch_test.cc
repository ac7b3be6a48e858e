// What was thrown becomes a Status, whatever it was.
#include "engine/base/catch.h"

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/base/borrowed.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

template <class Exception>
Status Thrown(const Exception& exception) {
  return StatusOf([&]() -> Status { throw exception; });
}

TEST(CatchTest, EveryExceptionHasItsCode) {
  EXPECT_EQ(Thrown(std::bad_alloc()).code(), Code::kOutOfMemory);
  EXPECT_EQ(Thrown(ArgumentFailure("no such shape")).code(), Code::kInvalid);
  EXPECT_EQ(Thrown(ArgumentFailure("no such shape")).message(), "no such shape");
  EXPECT_EQ(Thrown(CheckFailure("broken")).code(), Code::kInternal);
  EXPECT_EQ(Thrown(std::runtime_error("the host's")).code(), Code::kInternal);
  EXPECT_EQ(Thrown(std::runtime_error("the host's")).message(), "the host's");
  EXPECT_EQ(Thrown(7).code(), Code::kInternal);
  EXPECT_THAT(Thrown(7).message(), testing::HasSubstr("unknown"));
}

TEST(CatchTest, WhatIsReturnedStaysWhatItIs) {
  EXPECT_TRUE(StatusOf([] { return Status::Ok(); }).ok());
  EXPECT_EQ(StatusOf([] { return Status::NotFound("it"); }).code(), Code::kNotFound);
  Result<std::unique_ptr<int>> made =
      StatusOf([]() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(3); });
  EXPECT_EQ(**made, 3);
  made = StatusOf([]() -> Result<std::unique_ptr<int>> { throw std::bad_alloc(); });
  EXPECT_EQ(made.status().code(), Code::kOutOfMemory);
}

TEST(BorrowedTest, GoesWithAMoveAndStaysWithACopy) {
  int value = 5;
  Borrowed<int> first(&value);
  Borrowed<int> second(first);
  EXPECT_TRUE(first && second);
  const Borrowed<int> third(std::move(first));
  EXPECT_FALSE(first);  // NOLINT: that is what is asked
  EXPECT_EQ(*third, 5);
  first = std::move(second);
  EXPECT_FALSE(second);  // NOLINT
  EXPECT_EQ(*first, 5);
}

}  // namespace
}  // namespace lockstep
