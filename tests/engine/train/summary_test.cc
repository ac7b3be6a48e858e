// The layers of a network as text.
#include "engine/train/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers/activation.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Network Bind(Context& ctx, std::vector<std::string> frozen = {}) {
  return Network::Bind(ctx,
                       Sequential(Linear(16), BatchNorm(), Relu(),
                                  Residual(Sequential(Linear(16), Tanh())), Linear(3)),
                       MseLoss(), {.input = {8, 5}, .frozen = std::move(frozen)})
      .value();
}

TEST(SummaryTest, EachLayerCountsWhatIsWithinIt) {
  Context ctx({.threads = 1});
  const Network net = Bind(ctx);
  const std::vector<LayerSummary> layers = LayersOf(net);
  std::vector<std::string> names, kinds;
  for (const LayerSummary& layer : layers) {
    names.push_back(layer.name);
    kinds.push_back(layer.kind);
  }
  EXPECT_THAT(
      names, ElementsAre("all", "0", "1", "2", "3", "3.body", "3.body.0", "3.body.1", "4", "loss"));
  EXPECT_THAT(kinds, ElementsAre("Sequential", "Linear", "BatchNorm", "ReLU", "Residual",
                                 "Sequential", "Linear", "Tanh", "Linear", "MSELoss"));
  EXPECT_EQ(layers[0].parameters, net.parameter_count());
  EXPECT_EQ(layers[1].parameters, 16 * 5 + 16);
  EXPECT_EQ(layers[4].parameters, 16 * 16 + 16);
  EXPECT_EQ(layers[4].parameters, layers[6].parameters);
  EXPECT_EQ(layers[1].flops, 2.0 * 8 * 16 * 5);
  EXPECT_GE(layers[4].bytes, layers[6].bytes);
  EXPECT_EQ(layers[8].out, (Shape{8, 3}));
  EXPECT_EQ(layers[9].out.rank(), 0);
  EXPECT_EQ(FlopsOf(net), layers[0].flops + layers[9].flops);
}

TEST(SummaryTest, SaysWhatLearnsAndWhatIsFrozen) {
  Context ctx({.threads = 1});
  const std::string plain = Summary(Bind(ctx));
  EXPECT_THAT(plain, HasSubstr("layer"));
  EXPECT_THAT(plain, HasSubstr("multiply-adds"));
  EXPECT_THAT(plain, HasSubstr("451 parameters, all of which learn"));
  EXPECT_THAT(plain, HasSubstr("3 states"));
  EXPECT_THAT(plain, HasSubstr("in a forward pass of 8 samples"));
  EXPECT_THAT(plain, HasSubstr("its bias has no effect"));
  const std::string frozen = Summary(Bind(ctx, {"0.*", "3.body.0.weight"}));
  // 96 of the first layer, and 256 of the 272 within the residual.
  EXPECT_THAT(frozen, HasSubstr("451 parameters, 99 learn, 352 are frozen"));
  EXPECT_THAT(frozen, HasSubstr("frozen; its bias has no effect"));
  EXPECT_THAT(frozen, HasSubstr("256 frozen"));
}

TEST(SummaryTest, OfANetworkThatOnlyPredicts) {
  Context ctx({.threads = 1});
  const Network net = Network::Bind(ctx, Sequential(Linear(4), Relu()), {.input = {2, 3}}).value();
  EXPECT_THAT(Summary(net), HasSubstr("16 parameters"));
  EXPECT_EQ(LayersOf(net).front().name, "all");
}

}  // namespace
}  // namespace lockstep
