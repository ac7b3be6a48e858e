// The lockstep program: reads the command line and runs one command. A failure is one line on
// standard error and a non-zero exit: 1 for what went wrong in a run, 2 for a command line that
// says nothing we understand, 130 after Ctrl-C or another signal to stop (the run is saved).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/nearest_name.h"
#include "tools/command/commands.h"
#include "tools/command/ranks.h"
#include "tools/command/terminal.h"
#include "tools/command/version.h"

namespace lockstep::inline v0_1::tools {
namespace {

int Report(const Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "lockstep: %s\n", status.message().c_str());
  return ExitCode(status);
}

std::vector<CommandWords> WordsOf(const CLI::App& app) {
  std::vector<CommandWords> all;
  for (const CLI::App* sub : app.get_subcommands({})) {
    CommandWords words{.name = sub->get_name(), .options = {}};
    for (const CLI::Option* option : sub->get_options()) {
      if (option->get_group().empty()) continue;  // for the program itself
      for (const std::string& name : option->get_lnames()) words.options.push_back("--" + name);
      if (option->get_name() == "overrides") words.takes_overrides = true;
    }
    all.push_back(std::move(words));
  }
  return all;
}

// key=value, unless there is a file of that name.
std::string NotAnOverride(const std::string& argument) {
  std::error_code error;
  const bool is_input =
      argument.find('=') == std::string::npos || std::filesystem::exists(argument, error);
  return is_input ? "" : "no sample";
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Trains neural networks on CPUs: as fast as the silicon allows, and the same bits on any "
      "number of threads.");
  app.name("lockstep");
  app.require_subcommand(1);
  app.set_version_flag("--version", VersionText);
  app.footer(
      "examples:\n  lockstep train models/recipes/clinical.toml\n"
      "  lockstep eval runs/clinical\n  lockstep COMMAND --help");

  TrainArgs train_args;
  CLI::App* train = app.add_subcommand("train", "train a network as a recipe says");
  train->add_option("recipe", train_args.recipe,
                    "recipe file (TOML); models/recipes holds examples");
  train->add_option("overrides", train_args.overrides,
                    "key=value: replaces a key of the recipe, as in train.epochs=5");
  train->add_option("--resume", train_args.resume,
                    "run folder: go on where it stopped, to the same bits; key=value changes what "
                    "may change: epochs, learning rate, schedule, output");
  train->add_flag(
      "--auto-resume", train_args.auto_resume,
      "begin the run in output.folder, or go on with it where it has begun, or say that "
      "it has finished: the same command line for a job that is started again");
  train->add_flag("--print-recipe", train_args.print_recipe,
                  "print every key with its value and meaning, and stop");
  train->add_option("--digest", train_args.digest,
                    "file: a hash of each tensor after each step, for compare-digests");
  train
      ->add_option("--folds", train_args.folds,
                   "cross-validation: so many runs, each with another fold held back to test")
      ->check(CLI::Range(int64_t{2}, int64_t{1000}));
  train->add_option("--seeds", train_args.seeds,
                    "a run for each of so many seeds, from train.seed on, or of a list: 1,2,5");
  train->add_flag("--curve", train_args.curve, "draw the losses of the epochs, in characters");
  train->footer(
      "examples:\n  lockstep train models/recipes/clinical.toml\n"
      "  lockstep train models/recipes/wdbc.toml data.path=wdbc.data train.epochs=60\n"
      "  lockstep train models/recipes/wdbc.toml data.path=wdbc.data --folds 5\n"
      "  lockstep train --resume runs/clinical\n"
      "  lockstep train --resume runs/clinical train.epochs=60\n"
      "  mpirun -n 4 lockstep train models/recipes/clinical.toml train.shards=4 "
      "output.folder=runs/four --auto-resume");

  EvalArgs eval_args;
  CLI::App* eval = app.add_subcommand("eval", "measure a trained network");
  eval->add_option("model", eval_args.model, "run folder or checkpoint file")->required();
  eval->add_option("overrides", eval_args.overrides,
                   "key=value: replaces a key of the model's recipe, as in data.path=...");
  eval->add_option("--split", eval_args.split, "which samples")
      ->check(CLI::IsMember({"train", "validation", "test"}));
  eval->add_option("--data", eval_args.data,
                   "other pictures, all of which are measured: a folder with a folder for each "
                   "class, a CIFAR file or folder, an IDX file beside that of its labels");
  eval->footer(
      "examples:\n  lockstep eval runs/clinical --split validation\n"
      "  lockstep eval runs/pets --data other_pets/");

  PredictArgs predict_args;
  CLI::App* predict = app.add_subcommand("predict", "probabilities or values for new samples");
  predict->add_option("model", predict_args.model, "run folder or model file")->required();
  predict->validate_positionals();
  predict
      ->add_option("input", predict_args.inputs,
                   "samples: CSV with or without header and label; for models of pictures PNG and "
                   "JPEG files and folders of them, or one IDX file")
      ->required()
      ->check(CLI::Validator(NotAnOverride, "", ""));
  predict->add_option("overrides", predict_args.overrides,
                      "key=value: replaces a key of the model's recipe, as in data.delimiter=;");
  predict->add_option("-o,--output", predict_args.output, "CSV file to write (else: printed)");
  predict
      ->add_option("--top", predict_args.top,
                   "so many of the likeliest classes with their probabilities; 0: the probability "
                   "of every class (else: of picture files 1, of other samples 0)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  predict
      ->add_option("--explain", predict_args.explain,
                   "of a table's row with this number, from 1, or of all: what each column "
                   "contributes to what is told, against a row that is as usual in everything "
                   "(Shapley values); with -o as CSV")
      ->type_name("ROW");
  predict->footer(
      "examples:\n  lockstep predict runs/clinical patients.csv -o risks.csv\n"
      "  lockstep predict runs/clinical patients.csv --explain 3\n"
      "  lockstep predict runs/pets cat.jpg holiday/ --top 3");

  GenerateArgs generate_args;
  CLI::App* generate = app.add_subcommand("generate", "go on with a text, by a language model");
  generate->add_option("model", generate_args.model, "run folder or model file")->required();
  generate->add_option("overrides", generate_args.overrides,
                       "key=value: replaces a key of the model's recipe, as in train.threads=2");
  CLI::Option* prompt =
      generate->add_option("--prompt", generate_args.prompt, "the text to go on with");
  generate
      ->add_option("--prompt-file", generate_args.prompt_file,
                   "a file with that text (without either: standard input)")
      ->excludes(prompt);
  generate->add_option("--tokens", generate_args.tokens, "how many tokens at most (200)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  CLI::Option* temperature =
      generate->add_option("--temperature", generate_args.temperature,
                           "below 1 the likely is likelier still, above 1 less so; 0: --greedy");
  generate->add_flag("--greedy", generate_args.greedy, "always the likeliest token")
      ->excludes(temperature);
  generate->add_option("--top-k", generate_args.top_k,
                       "of the k likeliest tokens only (0: of all)");
  generate->add_option("--top-p", generate_args.top_p,
                       "of the fewest tokens only that together have this probability (1: of all)");
  generate->add_option("--repetition-penalty", generate_args.repetition_penalty,
                       "above 1 tokens that the text already has are less likely (1: as they are)");
  generate->add_option("--seed", generate_args.seed, "the same seed, the same text (1)")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  generate->footer(
      "Only what follows the text is printed. Bytes that are no UTF-8 come out as they are.\n"
      "examples:\n  lockstep generate runs/shakespeare --prompt ROMEO: --temperature 0.8\n"
      "  lockstep generate gpt2.safetensors --prompt-file story.txt --top-k 40 --tokens 500");

  ExportArgs export_args;
  CLI::App* exports = app.add_subcommand("export", "write a model for other programs");
  exports->add_option("model", export_args.model, "run folder or checkpoint file")->required();
  exports
      ->add_option("output", export_args.output,
                   "NAME.onnx: the network; NAME.safetensors: its weights alone, as PyTorch loads "
                   "them")
      ->required();
  exports->add_flag("--fold", export_args.fold,
                    "each batch norm becomes part of the product in front of it");
  exports->add_flag("--standardize,--raw", export_args.standardize,
                    "the network takes raw features and standardises them itself; of a table, its "
                    "rows as they are, an input for each column, and it answers as predict does");
  exports->footer("example:\n  lockstep export runs/clinical clinical.onnx --fold --standardize");

  ImportArgs import_args;
  CLI::App* imports = app.add_subcommand("import", "make a model of weights from another program");
  imports->validate_positionals();
  std::vector<std::string> import_files;
  imports
      ->add_option("files", import_files,
                   "RECIPE WEIGHTS OUTPUT: the recipe (TOML) of the network and of the data it was "
                   "trained on, which say how features are read and standardised; a safetensors "
                   "file with the names and shapes that PyTorch gives them; the model file to "
                   "write. Of GPT-2's weights, by the names that Hugging Face gives them, WEIGHTS "
                   "OUTPUT is enough; a tokenizer.json, or vocab.json and merges.txt, beside them "
                   "becomes the model's tokenizer")
      ->required()
      ->expected(2, 3)
      ->check(CLI::Validator(NotAnOverride, "", ""));
  imports->add_option("overrides", import_args.overrides,
                      "key=value: replaces a key of the recipe, as in data.standardize=false");
  imports->footer(
      "examples:\n  lockstep import models/recipes/wdbc.toml theirs.safetensors "
      "model.safetensors\n"
      "  lockstep import gpt2/model.safetensors gpt2.safetensors\n"
      "  lockstep train models/recipes/wdbc.toml model.weights=theirs.safetensors   (trains on)");

  std::string inspected;
  CLI::App* inspect = app.add_subcommand("inspect", "show the tensors of a file and their values");
  inspect->add_option("file", inspected, "checkpoint, safetensors or NPY file, or a run folder")
      ->required();
  inspect->footer("example:\n  lockstep inspect runs/clinical/last.safetensors");

  std::string digest_a, digest_b;
  CLI::App* compare_digests = app.add_subcommand(
      "compare-digests", "say where two runs first had other bits: step, rank and tensor");
  compare_digests->add_option("a", digest_a, "digest of a run: lockstep train --digest A")
      ->required();
  compare_digests->add_option("b", digest_b, "digest of another")->required();
  compare_digests->footer(
      "example:\n  lockstep train r.toml output.folder=one --digest one.txt\n"
      "  mpirun -n 2 lockstep train r.toml output.folder=two --digest two.txt\n"
      "  lockstep compare-digests one.txt two.txt");

  PlanArgs plan_args;
  CLI::App* plan = app.add_subcommand(
      "plan", "show layers, shapes, operations, memory and fusions before anything runs");
  plan->add_option("recipe", plan_args.recipe, "recipe file (TOML)")->required();
  plan->add_option("overrides", plan_args.overrides, "key=value: replaces a key of the recipe");
  plan->footer("example:\n  lockstep plan models/recipes/mnist_mlp.toml train.batch=512");

  ScaleArgs scale_args;
  CLI::App* scale = app.add_subcommand(
      "scale", "measure what threads and ranks bring to the training step of a recipe");
  scale->add_option("recipe", scale_args.recipe, "recipe file (TOML)")->required();
  scale->add_option("overrides", scale_args.overrides, "key=value: replaces a key of the recipe");
  scale->add_option("--threads", scale_args.threads,
                    "numbers of threads, as in 1,2,4 (doubling, up to what may be used)");
  scale->add_option("--ranks", scale_args.ranks,
                    "numbers of processes over MPI, as in 1,2; started by --launcher (1)");
  scale->add_flag("--strong", scale_args.strong, "the same batch everywhere (the default)");
  scale->add_flag("--weak", scale_args.weak, "a batch that grows with threads times ranks");
  scale
      ->add_option("--repetitions", scale_args.repetitions,
                   "rounds in which points take turns (15)")
      ->check(CLI::Range(int64_t{1}, int64_t{10000}));
  scale->add_option("--seconds", scale_args.seconds, "for each point, over all rounds (3)")
      ->check(CLI::Range(0.0, 86400.0));
  scale->add_flag("--loading", scale_args.loading,
                  "each step loads its batch first (else it is in memory already)");
  CLI::Option* scale_predict =
      scale->add_option("--predict", scale_args.predict, "also predict up to so many ranks")
          ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  scale
      ->add_option("--network", scale_args.network,
                   "for --predict: microseconds of latency and GB/s between ranks, as in 2,10 "
                   "(measured where there are ranks)")
      ->needs(scale_predict);
  scale->add_option("--launcher", scale_args.launcher,
                    "how ranks are started, {} for their number (mpirun -n {})");
  scale->add_option("--out", scale_args.out, "folder for the page and all files (runs/scale_NAME)");
  scale->add_option("--json", scale_args.json, "also write this file: every measured number");
  scale->add_option("--csv", scale_args.csv, "also write this file: a row for each point");
  scale->add_option("--format", scale_args.format, "what is printed (table)")
      ->check(CLI::IsMember({"table", "json", "csv", "reframe", "mllog"}));
  scale->add_option("--worker", scale_args.worker, "")->group("");
  scale->footer(
      "examples:\n  lockstep scale models/recipes/clinical.toml\n"
      "  lockstep scale models/recipes/mnist_mlp.toml data.path=mnist --threads 1,2,4 --strong "
      "--weak\n"
      "  lockstep scale models/recipes/clinical.toml --ranks 1,2,4 --threads 1 --predict 1024 "
      "--network 2,10");

  DataArgs data_args;
  CLI::App* data = app.add_subcommand(
      "data", "show what is understood of a table; list, show or write the built-in data sets");
  data->add_option(
      "name", data_args.name,
      "a table's file, or a recipe (TOML) that names one; or clinical, digits, sums or visits; "
      "none: a list of these");
  data->add_option("overrides", data_args.overrides,
                   "key=value: says of a table what a recipe would, as in data.label=outcome");
  data->add_option(
      "-o,--output", data_args.output,
      "write all samples: clinical and visits to a CSV file, digits to a folder of IDX "
      "files, sums to a text file");
  data->add_option("--rows", data_args.rows, "samples to show")->check(CLI::Range(0, 1000));
  data->add_option("--size", data_args.size, "samples to make (0: as many as the set has)")
      ->check(CLI::Range(int64_t{0}, int64_t{100'000'000}));
  data->add_option("--seed", data_args.seed, "seed of the samples")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  data->footer(
      "examples:\n  lockstep data patients.csv data.label=outcome data.group=patient\n"
      "  lockstep data digits --rows 2\n  lockstep data clinical -o patients.csv");

  TokenizeArgs tokenize_args;
  CLI::App* tokenize = app.add_subcommand("tokenize", "texts to tokens, and tokens to texts");
  tokenize->add_option("input", tokenize_args.inputs,
                       "text files, or folders of .txt files; with --decode .bin or .npy files");
  tokenize
      ->add_option("--tokenizer", tokenize_args.tokenizer,
                   "bytes, characters (of these texts), a tokenizer.json, a folder with that or "
                   "with vocab.json and merges.txt, or the run folder or model of a network")
      ->required();
  CLI::Option* tokenized_text =
      tokenize->add_option("--text", tokenize_args.text, "a text; with --decode numbers");
  tokenize->add_option("-o,--output", tokenize_args.output,
                       "NAME.bin or NAME.npy to write; with --decode a text file (else: printed)");
  tokenize->add_flag("--decode", tokenize_args.decode, "print the text that tokens stand for");
  tokenize->add_flag("--end-of-text", tokenize_args.end_of_text,
                     "put the token for it behind each text");
  tokenize->add_flag("--plain", tokenize_args.plain,
                     "--decode: .bin files are uint16 without a header");
  tokenize->footer(
      "examples:\n  lockstep tokenize --tokenizer gpt2/ --text \"Hello, world!\"\n"
      "  lockstep tokenize --tokenizer gpt2/ book.txt -o book.bin\n"
      "  lockstep tokenize --tokenizer gpt2/ --decode book.bin");

  StudyArgs study_args;
  CLI::App* study = app.add_subcommand("study", "run an experiment on what batch norm does");
  study->add_option("name", study_args.name, "which one, or all; none, or list: list them");
  study->add_option("overrides", study_args.overrides,
                    "key=value: replaces a setting of the study, as in data.path=MNIST_FOLDER");
  study->add_flag("--cnn", study_args.cnn,
                  "its form with convolutional networks on pictures, where there is one; "
                  "data.path=FOLDER is CIFAR-10 then");
  study->add_option("--seeds", study_args.seeds, "how often everything is repeated");
  study->add_option("-o,--output", study_args.output, "folder for the page and the results");
  study->footer(
      "examples:\n  lockstep study\n  lockstep study b1\n  lockstep study b5 --cnn\n"
      "  lockstep study b4 --seeds 3 data.path=mnist train.epochs=2");

  CLI::App* completion =
      app.add_subcommand("completion",
                         "print the completion script for bash: source <(lockstep "
                         "completion)");

  const CLI::App* const version =
      app.add_subcommand("version", "print what this program was made of, as --version does");

  const std::string command = argc > 1 ? argv[1] : "";
  std::vector<std::string> commands;
  for (const CLI::App* sub : app.get_subcommands({})) commands.push_back(sub->get_name());
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
  if (train->parsed()) return RunOnRanks([&](Ranks& ranks) { return Train(train_args, ranks); });
  if (eval->parsed()) return RunOnRanks([&](Ranks& ranks) { return Eval(eval_args, ranks); });
  if (predict->parsed()) return Report(Predict(predict_args));
  generate_args.has_prompt = prompt->count() > 0;
  if (generate->parsed()) return Report(Generate(generate_args));
  if (exports->parsed()) return Report(Export(export_args));
  if (imports->parsed()) {
    import_args.output = import_files.back();
    import_args.weights = import_files[import_files.size() - 2];
    if (import_files.size() == 3) import_args.recipe = import_files.front();
    return Report(Import(import_args));
  }
  if (inspect->parsed()) return Report(Inspect(inspected));
  if (compare_digests->parsed()) return Report(CompareDigestFiles(digest_a, digest_b));
  if (plan->parsed()) return Report(Plan(plan_args));
  if (scale->parsed()) return RunOnRanks([&](Ranks& ranks) { return RunScale(scale_args, ranks); });
  if (data->parsed()) return Report(Data(data_args));
  if (tokenize->parsed()) {
    tokenize_args.has_text = tokenized_text->count() > 0;
    return Report(Tokenize(tokenize_args));
  }
  if (study->parsed()) return Report(RunStudy(study_args));
  if (version->parsed()) std::printf("%s\n", VersionText().c_str());
  if (completion->parsed()) std::printf("%s", BashCompletion(WordsOf(app)).c_str());
  return 0;
}

}  // namespace
}  // namespace lockstep::tools

int main(int argc, char** argv) {
  using lockstep::tools::OutputStatus;
  lockstep::tools::KeepStandardStreams();
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file larger than `ulimit -f` allows is then an error we can report
  try {
    const int code = lockstep::tools::Main(argc, argv);
    return code == 0 ? lockstep::tools::Report(OutputStatus()) : code;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "lockstep: out of memory; a smaller train.batch or model needs less\n");
  } catch (const std::exception& error) {
    const lockstep::Status printed = OutputStatus();  // printing throws
    const std::string text =
        printed.ok() ? std::string("internal error: ") + error.what() : printed.message();
    std::fprintf(stderr, "lockstep: %s\n", text.c_str());
  }
  return 1;
}
