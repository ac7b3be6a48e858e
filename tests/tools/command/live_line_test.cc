// What the program shows: on a terminal, and elsewhere.
#include "tools/command/live_line.h"

#include <gmock/gmock.h>
#include <pty.h>
#include <signal.h>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

class LiveLineTest : public Program {
 protected:
  void SetUp() override {
    Program::SetUp();
    int ends[2];
    if (openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr) != 0) {
      GTEST_SKIP() << "this system gives no pseudo-terminals";
    }
    close(ends[0]);
    close(ends[1]);
  }

  // `lockstep ARGUMENTS` on a terminal of so many columns; what it wrote there.
  Ran RunOnTerminal(const std::string& arguments, int columns, const std::string& environment) {
    winsize size{};
    size.ws_row = 40;
    size.ws_col = static_cast<unsigned short>(columns);
    int terminal = -1;
    const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
    if (child == 0) {
      const std::string command = "cd " + folder_.string() + " && exec " + environment +
                                  " " LOCKSTEP_PROGRAM " " + arguments;
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    Ran ran;
    std::array<char, 4096> buffer;
    for (ssize_t n; (n = read(terminal, buffer.data(), buffer.size())) > 0;)
      ran.out.append(buffer.data(), static_cast<size_t>(n));
    int status = 0;
    waitpid(child, &status, 0);
    close(terminal);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return ran;
  }
};

const std::string kRun = "train " + kClinical + " data.size=500 train.epochs=4 ";

TEST_F(LiveLineTest, ATerminalHasALineThatIsDrawnOver) {
  const Ran ran = RunOnTerminal(kRun, 120, "env -u NO_COLOR TERM=xterm");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("\r\033[K\033[36mepoch 1/4  step "));  // the first step is shown
  EXPECT_THAT(ran.out, HasSubstr("samples/s"));
  EXPECT_THAT(ran.out, HasSubstr("lr "));
  EXPECT_THAT(ran.out, HasSubstr("epoch   4/4"));
}

TEST_F(LiveLineTest, NoColorIsHonoured) {
  const Ran ran = RunOnTerminal(kRun + "--curve", 120, "env NO_COLOR=1 TERM=xterm");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("\r\033[K"));
  EXPECT_THAT(ran.out, Not(HasSubstr("m•")));
  EXPECT_THAT(ran.out, Not(HasSubstr("\033[3")));
}

TEST_F(LiveLineTest, ATerminalWithoutACursorIsWrittenToAsAFileIs) {
  for (const char* environment : {"env TERM=dumb", "env TERM=", "env -u TERM"}) {
    fs::remove_all(folder_ / "runs");
    const Ran ran = RunOnTerminal(kRun + "--curve", 120, environment);
    ASSERT_EQ(ran.code, 0) << ran.out;
    EXPECT_THAT(ran.out, Not(HasSubstr("\033"))) << environment;
    EXPECT_THAT(ran.out, HasSubstr("loss by epoch: training, and validation")) << environment;
  }
}

// Where no terminal is, by a clock of the test's own.
TEST(ProgressTest, AFileGetsALineEveryTenSecondsAndFewerInALongRun) {
  std::FILE* const file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  double now = 1000.0;
  LiveLine line({.epochs = 3, .out = file, .seconds = [&] { return now; }});
  const auto lines_after = [&](double seconds_each, int steps) {
    static int64_t step = 0;
    for (int i = 0; i < steps; ++i, now += seconds_each) {
      ++step;
      line.Step({.step = step, .epoch = 0, .epoch_loss = 0.00123456, .samples_per_second = 512.0},
                100000);
    }
    std::string text;
    std::rewind(file);
    for (int c; (c = std::fgetc(file)) != EOF;) text += static_cast<char>(c);
    return text;
  };
  EXPECT_EQ(lines_after(1.0, 10), "") << "the first line comes after ten seconds";
  const std::string first = lines_after(1.0, 1);
  EXPECT_EQ(first,
            "epoch 1/3  step 11/100000  loss 0.001235  lr 0.00e+00  512 samples/s  27 h 46 min "
            "left\n");
  const std::string minute = lines_after(1.0, 50);
  EXPECT_EQ(std::count(minute.begin(), minute.end(), '\n'), 6);
  const std::string hours = lines_after(2.0, 3600);
  const auto more = std::count(hours.begin(), hours.end(), '\n');
  EXPECT_GT(more, 7200 / 60);
  EXPECT_LT(more, 7200 / 60 + 120);
  EXPECT_THAT(hours, Not(HasSubstr("\033")));
  EXPECT_THAT(hours, Not(HasSubstr("\r")));
  std::fclose(file);
}

TEST(ProgressTest, ALossKeepsFourSignificantDigitsAtAnySize) {
  EXPECT_EQ(LossText(0.58824), "0.5882");
  EXPECT_EQ(LossText(12.34567), "12.3457");
  EXPECT_EQ(LossText(0.1), "0.1000");
  EXPECT_EQ(LossText(0.0999999), "0.1000");
  EXPECT_EQ(LossText(0.0123456), "0.01235");
  EXPECT_EQ(LossText(0.0002), "0.0002000");
  EXPECT_EQ(LossText(-0.0034567), "-0.003457");
  EXPECT_EQ(LossText(3.14159e-9), "3.142e-09");
  EXPECT_EQ(LossText(123456789.0), "1.235e+08");
  EXPECT_EQ(LossText(0.0), "0.0000");
}

TEST_F(LiveLineTest, ItFitsANarrowTerminal) {
  const Ran ran = RunOnTerminal(kRun, 40, "env NO_COLOR=1");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const std::string redraw = "\r\033[K";
  for (size_t at = ran.out.find(redraw); at != std::string::npos;) {
    at += redraw.size();
    const size_t next = ran.out.find(redraw, at);
    const std::string part = ran.out.substr(at, next - at);
    if (part.find('\n') == std::string::npos) {
      EXPECT_LT(part.size(), 40u) << part;
    }
    at = next;
  }
}

TEST_F(LiveLineTest, ElsewhereThereAreWholeLinesOnly) {
  const Ran ran = Run(kRun + "--curve");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, Not(HasSubstr("\033")));
  EXPECT_THAT(ran.out, Not(HasSubstr("\r")));
  EXPECT_THAT(ran.out, HasSubstr("loss by epoch: training, and validation"));
}

TEST_F(LiveLineTest, TheCurveStaysBelowTheEpochs) {
  const Ran ran = RunOnTerminal(kRun + "--curve", 100, "env TERM=xterm");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("\033[9A\033[J"));  // eight lines and their legend, drawn anew
}

TEST_F(LiveLineTest, OnATerminalTooSmallForTheCurveItComesAtTheEnd) {
  const Ran ran = RunOnTerminal(kRun + "--curve", 44, "env TERM=xterm");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, Not(HasSubstr("A\033[J")));
  const size_t curve = ran.out.find("loss by epoch: training");
  ASSERT_NE(curve, std::string::npos);
  EXPECT_GT(curve, ran.out.rfind("epoch   4/4"));
  EXPECT_EQ(ran.out.find("loss by epoch: training", curve + 1), std::string::npos);
}

// One step of this run takes long against the time between the two signals.
TEST_F(LiveLineTest, ASecondCtrlCStopsAtOnce) {
  Write("twice.sh", "set -m\n" LOCKSTEP_PROGRAM " train " + kClinical +
                        " model.hidden=[1536,1536] train.batch=5600 train.epochs=50 "
                        "output.folder=run >log.txt & pid=$!\n"
                        "while kill -0 $pid && ! grep -q parameters log.txt; do sleep 0.01; done\n"
                        "sleep 0.1; kill -INT $pid; kill -INT $pid; sleep 0.02; kill -INT $pid\n"
                        "wait $pid\n");
  const int status =
      std::system(("cd " + folder_.string() + " && bash twice.sh 2>/dev/null").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 130);  // the shell's word for SIGINT, too
  EXPECT_FALSE(fs::exists(folder_ / "run/last.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "run/report.html"));
}

}  // namespace
}  // namespace lockstep::tools
