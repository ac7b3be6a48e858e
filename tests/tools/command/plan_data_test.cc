// The commands that train nothing: plan, data, completion, and --version.
#include <gmock/gmock.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/data/image/idx.h"
#include "tests/tools/patients.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST_F(Program, SaysItsVersion) {
  const Ran ran = Run("--version");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, MatchesRegex("lockstep [0-9.]+ \\(commit .+\\)\nbuilt with .+\nruns on .+, "
                                    "[0-9]+ threads?\n"));
}

TEST_F(Program, PlansWithoutTraining) {
  const Ran ran = Run("plan " + kClinical + " train.batch=32 optimizer.kind=sgd");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
  // 20 x 64 + 64 parameters, 2 x 32 x 20 x 64 operations.
  EXPECT_THAT(ran.out, HasSubstr("(32, 20)"));
  EXPECT_THAT(ran.out, HasSubstr(" 1344 "));
  EXPECT_THAT(ran.out, HasSubstr("81.9 kFLOP"));
  EXPECT_THAT(ran.out, HasSubstr("0 Linear takes the moments for 1 BatchNorm"));
  EXPECT_THAT(ran.out, HasSubstr("its bias has no effect"));
  EXPECT_THAT(ran.out, HasSubstr("SGD"));
}

TEST_F(Program, PlanNamesWhatIsWrong) {
  ExpectFails("plan none.toml", "none.toml");
  ExpectFails("plan " + kClinical + " train.batch=none", "train.batch");
  ExpectFails("plan " + kClinical + " data.kind=csv data.path=gone.csv", "gone.csv");
}

TEST_F(Program, PlanAndScaleRefuseWhatTrainRefuses) {
  Write("t.csv", Patients({.missing = false}));
  const std::string table =
      LOCKSTEP_SOURCE_DIR "/models/recipes/table.toml data.path=t.csv train.epochs=1 ";
  ASSERT_EQ(Run("train " + table + "output.folder=trained output.report=false").code, 0);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {kClinical + " train.threshold=cost data.validation=0", "train.threshold = cost"},
      {kClinical + " data.subgroups=[sex]", "data.subgroups"},
      {kClinical + " data.folds=1", "data.folds must be 2 or more"},
      {kClinical + " train.monitor=mae", "there is no mae of this task"},
      {kClinical + " train.patience=3 data.validation=0", "early stopping"},
      {table + "data.label=weight loss.balanced=true", "loss.balanced"},
      {table + "model.weights=trained data.label=smoker", "to the weights it is"}};
  for (const auto& [arguments, part] : cases) {
    ExpectFails("train " + arguments, part);
    ExpectFails("plan " + arguments, part);
    EXPECT_EQ(Run("plan " + arguments).out, Run("train " + arguments).out);
  }
  ExpectFails("scale " + cases[0].first, cases[0].second);
  ExpectFails("scale " + cases[6].first, cases[6].second);
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
  EXPECT_THAT(Run("plan " + table + "loss.balanced=true").out,
              HasSubstr("note: loss.balanced: loss.pos_weight = "));
}

TEST_F(Program, WritesPatientsThatItCanTrainOn) {
  ASSERT_EQ(Run("data clinical --size 300 -o patients.csv").code, 0);
  const std::string csv = Read("patients.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 301);
  const Ran ran = Run("train " + kClinical +
                      " data.kind=csv data.path=patients.csv train.epochs=1 data.size=0");
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("210 samples to train"));
}

TEST_F(Program, WritesDigitsAsTheFilesOfMnist) {
  ASSERT_EQ(Run("data digits --size 50 -o digits").code, 0);
  const auto read = LoadMnist((folder_ / "digits").string());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->train->size(), 50);
  EXPECT_EQ(read->train->info().x_shape, Shape({28, 28, 1}));
}

TEST_F(Program, ShowsWhatIsUnderstoodOfATable) {
  std::string text = "age;town;outcome\n";
  for (int i = 0; i < 40; ++i) {
    text += std::to_string(20 + i * 7 % 30) +
            (i == 9       ? ";;"
             : i % 2 == 0 ? ",5;Oslo;"
                          : ",5;Bern;") +
            (i % 3 == 0 ? "sick\n" : "well\n");
  }
  Write("patients.csv", text + ";Bern;well\n");
  const Ran ran = Run("data patients.csv");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("patients.csv: 41 rows, 3 columns"));
  EXPECT_THAT(ran.out, HasSubstr("semicolons between columns, a header, decimal commas"));
  EXPECT_THAT(ran.out, HasSubstr("outcome, binary: \"well\" 27 (65.9 %), \"sick\" 14 (34.1 %)"));
  EXPECT_THAT(ran.out, HasSubstr("data.missing"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
  // As a recipe, or key=value, says it.
  EXPECT_THAT(Run("data patients.csv data.label=town").out, HasSubstr("town, binary: "));
  Write("r.toml",
        "[data]\nkind = \"csv\"\npath = \"patients.csv\"\nlabel = \"age\"\n"
        "missing = \"drop\"\n");
  EXPECT_THAT(Run("data r.toml").out, HasSubstr("age, a regression: "));
  ExpectFails("data patients.csv data.label=result", "result");
  ExpectFails("data patients.csv data.labels=town", "data.labels");
  ExpectFails("data gone.csv", "gone.csv");
  ExpectFails("data patients.csv -o x.csv", "-o");
  Write("x.npy", "\x93NUMPY\x01");
  ExpectFails("data x.npy", "NPY");
}

TEST_F(Program, ShowsBuiltInData) {
  EXPECT_THAT(Run("data").out, HasSubstr("sums"));
  const std::string table = Run("data clinical --size 100 --rows 3").out;
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 5) << table;
  EXPECT_THAT(Run("data sums --rows 1").out, MatchesRegex(".*\n[0-9]+\\+[0-9]+=[0-9]+\n"));
  EXPECT_THAT(Run("data digits --rows 1").out, HasSubstr("█"));
  ExpectFails("data digit", "did you mean digits");
  ExpectFails("data -o here", "name of a set");
  ExpectFails("data clinical -o missing/folder/x.csv", "missing/folder");
  ExpectFails("data clinical --rows many", "--rows", /*code=*/2);
}

TEST_F(Program, CompletesInBash) {
  const auto complete = [&](const std::string& line, int word) {
    Write("complete.sh",
          "source <(" LOCKSTEP_PROGRAM " completion)\ncompopt() { :; }\nCOMP_WORDS=(" + line +
              ")\nCOMP_CWORD=" + std::to_string(word) + "\n_lockstep\necho \"${COMPREPLY[*]}\"\n");
    std::array<char, 4096> text{};
    FILE* pipe = popen(("cd " + folder_.string() + " && bash complete.sh 2>&1").c_str(), "r");
    const size_t size = fread(text.data(), 1, text.size(), pipe);
    pclose(pipe);
    return std::string(text.data(), size);
  };
  EXPECT_EQ(complete("lockstep tr", 1), "train\n");
  EXPECT_EQ(complete("lockstep train --re", 2), "--resume\n");
  EXPECT_EQ(complete("lockstep train complete.sh train.ep", 3), "train.epochs=\n");
  EXPECT_EQ(complete("lockstep plan comp", 2), "complete.sh\n");
}

}  // namespace
}  // namespace lockstep::tools
