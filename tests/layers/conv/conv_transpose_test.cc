#include "layers/conv/conv_transpose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/layers/conv/conv_case.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using testing::ExpectConvolves;
using ::testing::HasSubstr;
using testing::LayerRunner;

void Expect(const Shape& x, int64_t out, const ConvTranspose2dOptions& o, int64_t h, int64_t w,
            int64_t samples = 5) {
  SCOPED_TRACE(::testing::Message() << x << " to " << h << " x " << w << " x " << out);
  ExpectConvolves(ConvTranspose2d(out, o),
                  {.in_h = h,
                   .in_w = w,
                   .in_c = out,
                   .out_h = x[0],
                   .out_w = x[1],
                   .out_c = x[2],
                   .kernel_h = o.kernel.h,
                   .kernel_w = o.kernel.w,
                   .stride_h = o.stride.h,
                   .stride_w = o.stride.w,
                   .pad_top = o.padding.h,
                   .pad_left = o.padding.w,
                   .dilation_h = o.dilation.h,
                   .dilation_w = o.dilation.w,
                   .groups = o.groups},
                  true, 6, samples);
}

TEST(ConvTranspose2dTest, MatchesTheReferenceInDoubleForEveryOption) {
  Expect({4, 5, 3}, 17, {}, 6, 7);
  Expect({4, 5, 3}, 4, {.padding = 1, .bias = false}, 4, 5);
  Expect({4, 3, 5}, 6, {.kernel = 4, .stride = 2, .padding = 1}, 8, 6);
  Expect({4, 3, 16}, 5, {.stride = 2, .padding = 1, .output_padding = 1}, 8, 6);
  Expect({4, 3, 5}, 6, {.kernel = {2, 3}, .stride = {3, 1}, .dilation = {1, 2}}, 11, 7);
  Expect({2, 3, 4}, 5, {.kernel = 2, .stride = 3}, 5, 8);  // gaps, which hold the bias alone
  Expect({2, 3, 4}, 5, {.output_padding = 2, .dilation = 3}, 10, 11);
  Expect({3, 4, 4}, 6, {.stride = 2, .groups = 2}, 7, 9);
  Expect({3, 4, 6}, 6, {.stride = 2, .groups = 6}, 7, 9);
  Expect({3, 4, 9}, 3, {.stride = 2, .groups = 3}, 7, 9);
  Expect({1, 1, 3}, 2, {.kernel = 5}, 5, 5, /*samples=*/1);
}

TEST(ConvTranspose2dTest, PixelsThatNoWindowReachesHoldTheBias) {
  const Shape shape{1, 2, 2, 1};
  LayerRunner runner(std::make_unique<ConvTranspose2d>(
                         1, ConvTranspose2dOptions{.kernel = 1, .stride = 2, .output_padding = 1}),
                     shape);
  runner.value("weight")[0] = 2.0f;
  runner.value("bias")[0] = 5.0f;
  EXPECT_EQ(runner.Forward(std::vector<float>{1, 2, 3, 4}, shape),
            (std::vector<float>{7, 5, 9, 5, 5, 5, 5, 5, 11, 5, 13, 5, 5, 5, 5, 5}));
}

TEST(ConvTranspose2dTest, WhatDoesNotFitIsSaid) {
  const auto error = [](const Shape& x, int64_t out, ConvTranspose2dOptions o) {
    return LayerRunner(std::make_unique<ConvTranspose2d>(out, o), x).status().message();
  };
  const Shape x{2, 3, 4, 6};
  EXPECT_THAT(error({2, 3, 4}, 3, {}), HasSubstr("pictures"));
  EXPECT_THAT(error(x, 3, {.output_padding = 1}), HasSubstr("output_padding must be less"));
  EXPECT_THAT(error(x, 3, {.kernel = 1, .padding = 2}),
              AllOf(HasSubstr("-1 x 0"), HasSubstr("(2, 3, 4, 6)")));
  EXPECT_THAT(error(x, 4, {.groups = 3}), HasSubstr("groups = 3"));
  EXPECT_THAT(error(x, 3, {.kernel = 0}), HasSubstr("kernel must be at least 1"));
}

}  // namespace
}  // namespace lockstep
