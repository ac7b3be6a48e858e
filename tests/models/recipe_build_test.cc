// Networks of recipes for categories that are embedded, and for quantiles.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "models/recipe.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Recipe Parsed(const std::vector<std::string>& overrides) {
  return ParseRecipe("", "r.toml", overrides).value();
}

DatasetInfo Samples(Task task) {
  DatasetInfo info{.x_shape = {4}};
  SetTargets(task, 1, info);
  return info;
}

TEST(RecipeBuild, AMultiLayerPerceptronBeginsWithEmbeddings) {
  Context ctx({.threads = 1});
  DatasetInfo info = Samples(Task::kBinary);
  info.embedded = {{.feature = 2, .values = 40, .width = 5},
                   {.feature = 3, .values = 90, .width = 7}};
  const Network net = BuildNetwork(ctx, Parsed({"model.hidden=[8]"}), info, 6).value();
  std::vector<std::string> shapes;
  for (const ParameterInfo& parameter : net.parameters().infos)
    shapes.push_back(parameter.name + " " + parameter.shape.ToString());
  shapes.resize(3);
  EXPECT_THAT(shapes, ElementsAre("0.0.weight (40, 5)", "0.1.weight (90, 7)", "1.weight (8, 14)"));
}

TEST(RecipeBuild, OtherFamiliesSayHowToDoWithoutEmbeddings) {
  Context ctx({.threads = 1});
  DatasetInfo info = Samples(Task::kBinary);
  info.embedded = {{.feature = 2, .values = 40, .width = 5},
                   {.feature = 3, .values = 90, .width = 7}};
  for (const std::string kind : {"recurrent", "cnn", "transformer"}) {
    EXPECT_THAT(BuildNetwork(ctx, Parsed({"model.kind=" + kind}), info, 6).status().message(),
                AllOf(HasSubstr("model.kind = \"" + kind + "\""), HasSubstr("data.one_hot = 90"),
                      HasSubstr("model.kind = \"mlp\"")));
  }
}

TEST(RecipeBuild, ANetworkOfQuantilesHasAnOutputForEach) {
  Context ctx({.threads = 1});
  const DatasetInfo info = Samples(Task::kRegression);
  const auto build = [&](const std::string& quantiles) {
    return BuildNetwork(ctx, Parsed({"loss.kind=quantile", "loss.quantiles=" + quantiles}), info,
                        6);
  };
  Result<Network> net = build("[0.1, 0.25, 0.5, 0.75, 0.9]");
  ASSERT_TRUE(net.ok()) << net.status().message();
  EXPECT_EQ(net->output_shape(), (Shape{6, 5}));
  EXPECT_EQ(net->loss()->target_shape(net->output_shape()), (Shape{6, 1}));
  EXPECT_EQ(build("[0.5]")->output_shape(), (Shape{6, 1}));
  for (const char* wrong :
       {"[]", "[0.1, 0.9]", "[0.5, 0.1]", "[0.5, 0.5]", "[0.0, 0.5]", "[0.5, 1.0]"})
    EXPECT_THAT(build(wrong).status().message(), HasSubstr("for instance [0.05, 0.5, 0.95]"))
        << wrong;
  EXPECT_THAT(BuildNetwork(ctx, Parsed({"loss.kind=quantile"}), Samples(Task::kBinary), 6)
                  .status()
                  .message(),
              HasSubstr("is for numbers"));
}

}  // namespace
}  // namespace lockstep
