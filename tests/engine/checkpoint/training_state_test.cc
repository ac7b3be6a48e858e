#include "engine/checkpoint/training_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

TrainingState Example() {
  TrainingState state;
  state.step = 123'456'789'012;
  state.epoch = 7;
  state.batch_in_epoch = 31;
  state.seed = ~uint64_t{0};
  state.shards = 8;
  state.best_metric = 1.0 / 3.0;
  state.recipe = "[train]\nlr = 0.1  # \"quick\"\n";
  state.layer_traits["batch_norm.1"] = "keras momentum=0.99 eps=0.001";
  state.layer_traits["batch_norm.block.4"] = "lesson momentum=0.1 eps=1e-05";
  state.layer_traits["attention.2"] = "any \"text\" of a layer";
  return state;
}

TEST(TrainingStateTest, ReadsBackToTheSameValues) {
  for (const TrainingState& state : {Example(), TrainingState{}}) {
    const Result<TrainingState> back = TrainingStateFrom(MetadataOf(state));
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(*back, state);
  }
  TrainingState state;
  state.best_metric = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(TrainingStateFrom(MetadataOf(state))->best_metric, state.best_metric);
  state.best_metric = NAN;
  EXPECT_TRUE(std::isnan(*TrainingStateFrom(MetadataOf(state))->best_metric));
}

TEST(TrainingStateTest, IgnoresFurtherKeys) {
  Metadata metadata = MetadataOf(Example());
  metadata["classes"] = "benign,malignant";
  EXPECT_EQ(*TrainingStateFrom(metadata), Example());
}

// Files of format version 1 have no "layer." in front.
TEST(TrainingStateTest, ReadsWhatVersion1SaidOfLayers) {
  Metadata metadata = MetadataOf(TrainingState{});
  metadata["batch_norm.block.4"] = "keras momentum=0.99 eps=0.001";
  TrainingState want;
  want.layer_traits["batch_norm.block.4"] = "keras momentum=0.99 eps=0.001";
  EXPECT_EQ(*TrainingStateFrom(metadata), want);
}

TEST(TrainingStateTest, NamesWhatIsMissingOrDamaged) {
  for (const char* key : {"step", "epoch", "batch_in_epoch", "seed", "shards"}) {
    Metadata metadata = MetadataOf(Example());
    for (const char* bad : {"", "-1", "x", "1.5", "99999999999999999999999", " 1", "1 "}) {
      metadata[key] = bad;
      EXPECT_THAT(TrainingStateFrom(metadata).status().message(), HasSubstr(key)) << bad;
    }
    metadata.erase(key);
    EXPECT_THAT(TrainingStateFrom(metadata).status().message(), HasSubstr(key));
  }
  Metadata metadata = MetadataOf(Example());
  metadata["best_metric"] = "good";
  EXPECT_THAT(TrainingStateFrom(metadata).status().message(), HasSubstr("best_metric"));
  metadata = MetadataOf(Example());
  metadata["shards"] = "0";
  EXPECT_FALSE(TrainingStateFrom(metadata).ok());
}

}  // namespace
}  // namespace lockstep
