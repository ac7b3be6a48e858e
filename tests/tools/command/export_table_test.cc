// Models of a table in ONNX: the graph takes the rows as they stand in the file and answers as
// `lockstep predict` does. The other side is tests/layers/check_onnx.py.
#include <gmock/gmock.h>

#include <cstdlib>
#include <sstream>
#include <string>

#include "tests/tools/patients.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ExportTable : public Program {
 protected:
  // Trains on patients, exports, and leaves NAME.onnx, NAME.csv and NAME.told.csv in `models`.
  void ExportAs(const std::string& name, PatientOptions patients, const std::string& overrides,
                const std::string& flags = "") {
    SCOPED_TRACE(name);
    fs::create_directories(folder_ / "models");
    Write("patients.csv", Patients(patients));
    patients.rows = 37;
    patients.target.clear();
    patients.seed = 2;
    patients.strange = true;
    Write("models/" + name + ".csv", Patients(patients));
    const Ran trained = Run("train " LOCKSTEP_SOURCE_DIR
                            "/models/recipes/table.toml data.path=patients.csv train.epochs=4 "
                            "output.report=false output.folder=" +
                            name + " " + overrides);
    ASSERT_EQ(trained.code, 0) << trained.out;
    const Ran exported = Run("export " + name + " models/" + name + ".onnx --standardize " + flags);
    ASSERT_EQ(exported.code, 0) << exported.out;
    EXPECT_THAT(exported.out, HasSubstr("an input for each of the " +
                                        std::string(patients.times ? "6" : "5") + " columns"));
    const std::string csv = "models/" + name + ".csv";
    const Ran told = Run("predict " + name + " " + csv + " -o models/" + name + ".told.csv");
    ASSERT_EQ(told.code, 0) << told.out;
  }
  void ExpectRight() {
    const char* python = std::getenv("LOCKSTEP_PYTHON");
    const std::string command = std::string(python == nullptr ? "/usr/bin/python3" : python) +
                                " -B " LOCKSTEP_SOURCE_DIR "/tests/layers/check_onnx.py --tables " +
                                (folder_ / "models").string() + " 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> buffer;
    std::string out;
    for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      out.append(buffer.data(), n);
    const int code = WEXITSTATUS(pclose(pipe));
    if (code == 77 || code == 127) GTEST_SKIP() << out;
    EXPECT_EQ(code, 0) << out;
    if (std::getenv("LOCKSTEP_SHOW") != nullptr) std::printf("%s", out.c_str());
  }
};

TEST_F(ExportTable, TheGraphAnswersAsPredictDoes) {
  ExportAs("binary", {}, "data.missing=mean");
  EXPECT_THAT(Read("models/binary.onnx"), HasSubstr("IsNaN"));
  EXPECT_THAT(Read("models/binary.onnx"), HasSubstr("data.table"));
  ExportAs("classes", {.target = "stage", .times = true}, "data.missing=indicate", "--fold");
  ExportAs("regression", {.target = "cost"}, "data.missing=mean");
  ExportAs("quantiles", {.target = "cost"}, "data.missing=indicate loss.kind=quantile");
  ExportAs("many_quantiles", {.target = "cost"},
           "data.missing=mean loss.kind=quantile loss.quantiles=[0.1,0.25,0.5,0.75,0.9]");
  ExpectRight();
}

TEST_F(ExportTable, ManyCategoriesAreLookedUp) {
  ExportAs("embedded", {.rows = 400, .towns = 9}, "data.missing=mean data.one_hot=5");
  ExportAs("embedded_whole", {.rows = 400, .target = "stage", .missing = false, .towns = 9},
           "data.one_hot=5");
  EXPECT_THAT(Read("models/embedded_whole.onnx"), HasSubstr("0.0.weight"));
  ExpectRight();
}

// What is told at the threshold and the temperature found for a model, as a graph says it.
TEST_F(ExportTable, ADecisionIsPartOfTheGraph) {
  const std::string held = "data.missing=mean data.validation=0.4 ";
  ExportAs("threshold", {}, held + "train.threshold=recall train.recall=0.95");
  ExportAs("temperature", {}, held + "train.calibrate=temperature");
  ExportAs("both", {},
           held +
               "train.threshold=cost train.false_negative_cost=5 "
               "train.calibrate=temperature");
  ExportAs("temperature_classes", {.target = "stage"}, held + "train.calibrate=temperature");
  for (const std::string name : {"threshold", "both"})
    EXPECT_NE(Summary(name).at("decision").at("threshold"), 0.5) << name;
  for (const std::string name : {"temperature", "both", "temperature_classes"})
    EXPECT_NE(Summary(name).at("decision").at("temperature"), 1.0) << name;
  // Else a graph without a threshold would answer the same.
  int between = 0;
  std::istringstream lines(Read("models/threshold.told.csv"));
  for (std::string line; std::getline(lines, line);)
    between += line.starts_with("yes,") && std::stod(line.substr(4)) <= 0.5 ? 1 : 0;
  EXPECT_GT(between, 0);
  ExpectRight();
}

TEST_F(ExportTable, NumbersThatAreNotStandardisedPass) {
  ExportAs("raw", {}, "data.missing=mean data.standardize=false");
  ExpectRight();
}

TEST_F(ExportTable, WithoutTheFlagTheGraphTakesWhatTheNetworkTakes) {
  Write("patients.csv", Patients({}));
  ASSERT_EQ(Run("train " LOCKSTEP_SOURCE_DIR
                "/models/recipes/table.toml data.path=patients.csv data.missing=mean "
                "train.epochs=1 output.report=false output.folder=run")
                .code,
            0);
  const Ran ran = Run("export run m.onnx");
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("x (batch, "));
  EXPECT_THAT(ran.out, HasSubstr("see --standardize"));
  EXPECT_THAT(Read("m.onnx"), Not(HasSubstr("IsNaN")));
}

}  // namespace
}  // namespace lockstep::tools
