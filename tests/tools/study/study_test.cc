// Studies in a small setting: complete outputs, verdicts that follow from the numbers, the same
// results on any number of threads.
#include <gmock/gmock.h>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class StudyTest : public Program, public testing::WithParamInterface<const char*> {
 protected:
  Ran Run(const std::string& arguments) { return Program::Run("study " + arguments); }
  static std::string VerdictOf(const Json& checks) {
    const auto met = std::count_if(checks.begin(), checks.end(),
                                   [](const Json& check) { return check["met"].get<bool>(); });
    return met == 0                                            ? "does not hold"
           : met == static_cast<std::ptrdiff_t>(checks.size()) ? "holds"
                                                               : "holds in part";
  }
};

const std::string kSmall = " --seeds 2 data.size=640 data.validation=0.5 train.epochs=1";

// Of pictures; their networks of 56 layers are none that a test can wait for otherwise.
const std::string kSmallCnn =
    " --cnn --seeds 2 data.size=64 data.picture_size=8 train.epochs=1 model.groups=2";

TEST_P(StudyTest, LeavesAPageATableAndAVerdictThatFollowsFromTheChecks) {
  const std::string name = GetParam();
  const bool cnn = name.ends_with("_cnn");
  const Ran ran = Run(cnn ? name.substr(0, name.find('_')) + kSmallCnn : name + kSmall);
  ASSERT_EQ(ran.code, 0) << ran.out;
  const std::string run = "runs/study_" + name;
  const Json json = Json::parse(Read(run + "/results.json"));
  EXPECT_EQ(json["study"], name);
  ASSERT_GE(json["checks"].size(), 3u);
  const std::string verdict = json["verdict"];
  EXPECT_EQ(verdict, VerdictOf(json["checks"]));
  EXPECT_THAT(json["paragraph"].get<std::string>(), HasSubstr(verdict + " here."));
  EXPECT_THAT(ran.out, HasSubstr(json["paragraph"].get<std::string>()));
  EXPECT_THAT(Read(run + "/index.html"), HasSubstr(verdict));
  EXPECT_THAT(Read(run + "/index.html"), HasSubstr("<canvas"));

  // Every row has a value for each seed, and the CSV file holds them all.
  size_t values = 0;
  for (const Json& row : json["rows"]) {
    EXPECT_EQ(row["values"].size(), 2u) << row;
    values += row["values"].size();
  }
  const std::string csv = Read(run + "/results.csv");
  EXPECT_EQ(static_cast<size_t>(std::count(csv.begin(), csv.end(), '\n')), values + 1);
}

INSTANTIATE_TEST_SUITE_P(All, StudyTest,
                         testing::Values("b1", "b2", "b3", "b4", "b5", "l4", "ln", "m1", "m2", "m3",
                                         "m4", "b5_cnn", "m1_cnn"),
                         [](const auto& info) { return std::string(info.param); });

using Studies = StudyTest;

TEST_F(Studies, GiveTheSameResultsOnAnyNumberOfThreads) {
  ASSERT_EQ(Run("b4 -o one train.threads=1" + kSmall).code, 0);
  ASSERT_EQ(Run("b4 -o two train.threads=2" + kSmall).code, 0);
  EXPECT_EQ(Read("one/results.csv"), Read("two/results.csv"));
  ASSERT_EQ(Run("m1 -o one train.threads=1" + kSmallCnn).code, 0);
  ASSERT_EQ(Run("m1 -o two train.threads=2" + kSmallCnn).code, 0);
  EXPECT_EQ(Read("one/results.csv"), Read("two/results.csv"));
}

TEST_F(Studies, AreListedWithTheirClaims) {
  const Ran ran = Run("");
  EXPECT_EQ(ran.code, 0);
  for (const std::string name : {"b1", "b2", "b3", "b4", "b5", "l4", "ln", "m1", "m2", "m3", "m4",
                                 "all", "b5 --cnn", "m1 --cnn"})
    EXPECT_THAT("\n" + ran.out, HasSubstr("\n" + name + " "));
  EXPECT_EQ(Run("list").out, ran.out);
}

// As a bias in front of a batch norm has no effect whatever is learned, it is seen in the smallest
// setting, too.
TEST_F(Studies, ABiasInFrontOfABatchNormHasNoEffect) {
  ASSERT_EQ(Run("l4" + kSmall).code, 0);
  const Json json = Json::parse(Read("runs/study_l4/results.json"));
  EXPECT_EQ(json["verdict"], "holds") << json["paragraph"];
}

// Two layers are too few for anything to vanish: what is expected of thirty is then not seen.
TEST_F(Studies, AVerdictFollowsFromWhatWasMeasured) {
  ASSERT_EQ(Run("b3 -o deep" + kSmall).code, 0);
  ASSERT_EQ(Run("b3 -o flat 'model.hidden=[50, 50]'" + kSmall).code, 0);
  const Json deep = Json::parse(Read("deep/results.json"));
  const Json flat = Json::parse(Read("flat/results.json"));
  EXPECT_TRUE(deep["checks"][0]["met"].get<bool>());
  EXPECT_FALSE(flat["checks"][0]["met"].get<bool>());
  EXPECT_NE(flat["verdict"], "holds");
}

TEST_F(Studies, BadInputIsOneClearLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"b9", "did you mean b1?"},
      {"b1 model.norm=none", "varies model.norm itself"},
      {"b1 output.folder=x", "--output"},
      {"b1 model.kind=cnn", "model.kind"},
      {"b1 --cnn", "b5, m1"},
      {"b5 --cnn model.skip=true", "varies model.skip itself"},
      {"b5 --cnn data.path=nowhere", "nowhere"},
      {"b5 --cnn data.kind=clinical", "data.kind"},
      {"l4 data.picture_size=2", "4 pixels"},
      {"b1 train.epoch=1", "did you mean train.epochs?"},
      {"b1 --seeds 0", "--seeds"},
      {"b1 data.path=nowhere", "nowhere"},
      {"m4 data.kind=digits", "two classes"},
      {"m2 data.validation=0", "raise data.validation"},
  };
  for (const auto& [arguments, part] : cases) {
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, 1) << arguments << "\n" << ran.out;
    EXPECT_THAT(ran.out, HasSubstr(part));
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1) << ran.out;
  }
}

}  // namespace
}  // namespace lockstep::tools
