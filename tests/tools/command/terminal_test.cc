// Output that cannot be written, and terminals of every kind.
#include "tools/command/terminal.h"

#include <gmock/gmock.h>
#include <pty.h>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

class TerminalTest : public Program {
 protected:
  // `lockstep ARGUMENTS` with standard output as the shell is told; what came on standard error.
  Ran RunTo(const std::string& output, const std::string& arguments) {
    const std::string command = "cd " + folder_.string() + " && " LOCKSTEP_PROGRAM " " + arguments +
                                " 2>errors </dev/null " + output;
    const int status = std::system(command.c_str());
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1, .out = Read("errors")};
  }
};

TEST_F(TerminalTest, OutputThatCannotBeWrittenIsAnErrorOfEveryCommand) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  const std::string train = "train " + kClinical + " data.size=300 train.epochs=2 ";
  ASSERT_EQ(Run(train + "output.folder=run --digest one.txt").code, 0);
  ASSERT_EQ(Run("data clinical --size 20 -o patients.csv").code, 0);
  ASSERT_EQ(Run("export run weights.safetensors").code, 0);
  for (const std::string& arguments :
       {std::string("version"), std::string("--version"), std::string("--help"),
        std::string("train --help"), std::string("completion"), std::string("data"),
        std::string("data clinical --rows 2"), std::string("data clinical --size 9 -o again.csv"),
        "plan " + kClinical, std::string("train --print-recipe"), std::string("study"),
        std::string("inspect run"), std::string("eval run"),
        std::string("predict run patients.csv"), std::string("compare-digests one.txt one.txt"),
        std::string("export run m.onnx"),
        "import " + kClinical + " weights.safetensors imported.safetensors",
        std::string("tokenize --tokenizer bytes --text words"), train + "output.folder=again"}) {
    const Ran ran = RunTo(">/dev/full", arguments);
    EXPECT_EQ(ran.code, 1) << arguments;
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1) << arguments << ran.out;
    EXPECT_THAT(ran.out, Not(HasSubstr("internal error"))) << arguments;
  }
  // What takes hours is not lost with its output.
  EXPECT_EQ(Summary("again")["parameter_hash"], Summary("run")["parameter_hash"]);
}

// The first files that are opened would otherwise take the places of the streams, and hold what is
// printed.
TEST_F(TerminalTest, WithoutStandardStreamsNoFileTakesTheirPlace) {
  const std::string train = "train " + kClinical + " data.size=300 train.epochs=2 output.folder=";
  ASSERT_EQ(Run(train + "open").code, 0);
  EXPECT_EQ(RunTo(">&-", train + "closed").code, 1);
  EXPECT_EQ(Summary("closed")["parameter_hash"], Summary("open")["parameter_hash"]);
  EXPECT_EQ(Read("closed/metrics.csv").find("epoch   1"), std::string::npos);
  EXPECT_EQ(Run("eval closed").code, 0);
  EXPECT_EQ(RunTo("<&- >&-", "data clinical --size 5 -o made.csv").code, 1);
  EXPECT_EQ(Read("made.csv").find("patients are in"), std::string::npos);
}

// The environment is read once for each call: NAME=value pairs set around it.
Terminal TerminalWith(int columns, int rows, const char* kind, const char* no_color) {
  int ends[2];
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  size.ws_row = static_cast<unsigned short>(rows);
  if (openpty(&ends[0], &ends[1], nullptr, nullptr, &size) != 0) return {};
  kind == nullptr ? unsetenv("TERM") : setenv("TERM", kind, 1);
  no_color == nullptr ? unsetenv("NO_COLOR") : setenv("NO_COLOR", no_color, 1);
  std::FILE* const stream = fdopen(ends[1], "w");
  const Terminal terminal = TerminalOf(stream);
  std::fclose(stream);
  close(ends[0]);
  return terminal;
}

TEST(TerminalOfTest, SaysWhatATerminalCanDo) {
  const Terminal plain = TerminalWith(97, 31, "xterm", nullptr);
  if (!plain.is_one) GTEST_SKIP() << "this system gives no pseudo-terminals";
  EXPECT_TRUE(plain.cursor && plain.color);
  EXPECT_EQ(plain.columns, 97);
  EXPECT_EQ(plain.rows, 31);
  const Terminal grey = TerminalWith(20, 5, "screen", "1");
  EXPECT_TRUE(grey.cursor && !grey.color);
  EXPECT_TRUE(TerminalWith(20, 5, "screen", "").color);  // empty counts as not set
  for (const char* kind : {"dumb", "", static_cast<const char*>(nullptr)}) {
    const Terminal dumb = TerminalWith(0, 0, kind, nullptr);
    EXPECT_TRUE(dumb.is_one && !dumb.cursor && !dumb.color);
    EXPECT_EQ(dumb.columns, 80);  // where the terminal does not say
    EXPECT_EQ(dumb.rows, 24);
  }
  std::FILE* const file = std::tmpfile();
  const Terminal none = TerminalOf(file);
  EXPECT_FALSE(none.is_one || none.cursor || none.color);
  std::fclose(file);
}

}  // namespace
}  // namespace lockstep::tools
