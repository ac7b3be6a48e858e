# Makes the headers' plain comments those that Doxygen reads: // above and behind what they describe.
# What they set apart by three blanks (formulas, shapes, examples) comes out as it stands. Each file
# belongs to its room's group.

function room(   path) {
  path = FILENAME
  sub(/^.*\/(engine|layers|models|tools)\//, "&", path)
  match(path, /(engine|layers|models|tools)(\/[^\/]+)*\//)
  return substr(path, RSTART, RLENGTH - 1)
}

# What Doxygen would take for a command, a tag or a link.
function plain(text) {
  gsub(/[\\@<>#]/, "\\\\&", text)
  return text
}

function finish() {
  if (apart) print indent "/// @endcode"
  apart = 0
}

FNR == 1 {
  group = room()
  id = group
  gsub(/\//, "_", id)
  print "/// @file"
  c_header = $0 ~ /^\/\*/
  if (c_header) print "///"
  in_file_comment = 1
}

c_header {
  if ($0 ~ /^ *\/\* [^-]/) sub(/\/\* /, "/** ")
  else if ($0 ~ /^ *\/\*$/) sub(/\/\*/, "/**")
  if ($0 ~ /[;,{0-9] *\/\*\* /) sub(/\/\*\* /, "/**< ")
  print
  next
}

/^#ifndef LOCKSTEP_.*_H_$/ && in_file_comment {
  finish()
  in_file_comment = 0
  print
  next
}

# Pages name things as programs do: without the release's inline namespace.
/^namespace lockstep(::inline v[0-9_]+)?(::[a-z_:]+)? \{$/ {
  sub(/::inline v[0-9_]+/, "")
  finish()
  print "/// @addtogroup " id " " group
  print "/// @{"
  print
  next
}
/^\}  \/\/ namespace lockstep/ {
  print
  print "/// @}"
  next
}

/^ *\/\// {
  match($0, /^ */)
  indent = substr($0, 1, RLENGTH)
  text = substr($0, RLENGTH + 3)
  if (text ~ /^ (----|IWYU|NOLINT)/) next
  if (text ~ /^   /) {
    if (!apart) print indent "/// @code{.unparsed}"
    apart = 1
    print indent "/// " substr(text, 4)
  } else if (apart && text == "") {
    print indent "///"
  } else {
    finish()
    print indent "///" plain(text)
  }
  next
}

{
  finish()
  # Behind what it describes.
  if ($0 !~ /^ *#/ && match($0, /[;,{)]  ?\/\/ /)) {
    at = RSTART + RLENGTH
    before = substr($0, 1, RSTART)
    text = substr($0, at)
    if (text !~ /^(NOLINT|IWYU)/) $0 = before "  ///< " plain(text)
  }
  print
}
