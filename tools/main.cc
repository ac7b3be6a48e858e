// The lockstep program: reads the command line and runs one command. A failure is one line on
// standard error and a non-zero exit: 1 for what went wrong in a run, 2 for a command line that
// says nothing we understand, 130 after Ctrl-C.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/nearest_name.h"
#include "tools/commands.h"

namespace lockstep::tools {
namespace {

int Report(const Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "lockstep: %s\n", status.message().c_str());
  return status.code() == Code::kInterrupted ? 130 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Trains neural networks on CPUs: as fast as the silicon allows, and the same bits on any "
      "number of threads.");
  app.name("lockstep");
  app.require_subcommand(1);

  TrainArgs train_args;
  CLI::App* train = app.add_subcommand("train", "train a network as a recipe says");
  train->add_option("recipe", train_args.recipe,
                    "recipe file (TOML); models/recipes holds examples");
  train->add_option("overrides", train_args.overrides,
                    "key=value: replaces a key of the recipe, as in train.epochs=5");
  train->add_option("--resume", train_args.resume,
                    "run folder: go on where it stopped, to the same bits");
  train->add_flag("--print-recipe", train_args.print_recipe,
                  "print every key with its value and meaning, and stop");
  train->footer(
      "examples:\n  lockstep train models/recipes/clinical.toml\n"
      "  lockstep train models/recipes/wdbc.toml data.path=wdbc.data train.epochs=60\n"
      "  lockstep train --resume runs/clinical");

  EvalArgs eval_args;
  CLI::App* eval = app.add_subcommand("eval", "measure a trained network");
  eval->add_option("model", eval_args.model, "run folder or checkpoint file")->required();
  eval->add_option("overrides", eval_args.overrides,
                   "key=value: replaces a key of the model's recipe, as in data.path=...");
  eval->add_option("--split", eval_args.split, "which samples")
      ->check(CLI::IsMember({"train", "validation", "test"}));
  eval->footer("example:\n  lockstep eval runs/clinical --split validation");

  const std::string command = argc > 1 ? argv[1] : "";
  const std::vector<std::string> commands = {"train", "eval"};
  if (!command.empty() && command[0] != '-' &&
      std::find(commands.begin(), commands.end(), command) == commands.end()) {
    std::fprintf(
        stderr,
        "lockstep: unknown command %s; did you mean %s? (lockstep --help lists the commands)\n",
        Quoted(command).c_str(), NearestName(command, commands).c_str());
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::fprintf(stderr, "lockstep: %s (lockstep --help lists the commands)\n", error.what());
    return 2;
  }
  if (train->parsed()) return Report(Train(train_args));
  return Report(Eval(eval_args));
}

}  // namespace
}  // namespace lockstep::tools

int main(int argc, char** argv) {
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file larger than `ulimit -f` allows is then an error we can report
  try {
    return lockstep::tools::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "lockstep: out of memory; a smaller train.batch or model needs less\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lockstep: internal error: %s\n", error.what());
  }
  return 1;
}
