#include "tools/report/layer_probe.h"

#include <gtest/gtest.h>

#include "engine/train/checkpointing.h"
#include "layers/container/residual.h"
#include "layers/loss/bce_with_logits.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using tools::LayerFacts;
using tools::ProbeLayers;

TEST(LayerProbe, LeavesTheNetworkAsItWas) {
  const Subset data = All(Quadrants(64, 4, 0.1, 3));
  Rig rig(data, BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 2});
  ASSERT_TRUE(rig.trainer->Run().ok());
  const uint64_t before = ModelHash(*rig.net);
  ASSERT_TRUE(ProbeLayers(*rig.net, data, 3).ok());
  EXPECT_EQ(ModelHash(*rig.net), before);
}

TEST(LayerProbe, MeasuresEveryLayerThatWorks) {
  const Subset data = All(Quadrants(64, 4, 0.1, 3));
  Rig rig(data, BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 1});
  const auto layers = ProbeLayers(*rig.net, data, 2);
  ASSERT_TRUE(layers.ok()) << layers.status().message();
  std::vector<std::string> paths;
  for (const LayerFacts& layer : *layers) {
    paths.push_back(layer.path);
    EXPECT_GT(layer.forward_ms, 0.0);
    EXPECT_GT(layer.backward_ms, 0.0);
    EXPECT_GT(layer.output.rms, 0.0);
    EXPECT_GT(layer.weights.rms, 0.0);
    EXPECT_GT(layer.weight_gradient.rms, 0.0);
    EXPECT_EQ(layer.input_gradient.rms > 0.0, layer.path != "0");  // the first needs none
  }
  EXPECT_EQ(paths, (std::vector<std::string>{"0", "1", "3", "4", "6"}));  // norms apply the ReLUs
  EXPECT_EQ((*layers)[0].output.zeros, 0.0);
  EXPECT_GT((*layers)[1].output.zeros, 0.1);
  EXPECT_LT((*layers)[1].output.zeros, 0.9);
}

TEST(LayerProbe, ListsTheLayersWithinOthersOnce) {
  const Subset data = All(Quadrants(64, 4, 0.1, 3));
  Rig rig(data, Sequential(Linear(8), Residual(Sequential(Linear(8), Relu())), Linear(1)),
          BceWithLogitsLoss(), {}, {.epochs = 1});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  const auto layers = ProbeLayers(*rig.net, data, 1);
  ASSERT_TRUE(layers.ok()) << layers.status().message();
  ASSERT_EQ(layers->size(), 3u);
  EXPECT_TRUE((*layers)[1].path.starts_with("1."));
}

TEST(LayerProbe, SaysWhatCannotBeRun) {
  const Subset data = All(Quadrants(64, 4, 0.1, 3));
  Rig rig(data, BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 1});
  const Subset one{.dataset = data.dataset, .indices = {0}};
  EXPECT_FALSE(ProbeLayers(*rig.net, one, 1).ok());  // batch norm has nothing to measure
}

}  // namespace
}  // namespace lockstep::toy
