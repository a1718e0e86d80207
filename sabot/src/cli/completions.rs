//! `completions`: a script that completes pipelines, parameters, and the names of sources and sinks in a shell.

use std::ffi::OsString;

use clap::ArgMatches;
use clap::builder::PossibleValuesParser;
use clap_complete::{Shell, generate};

use super::{args, bind, print};
use crate::stream::pipelines;
use crate::{Error, Result};

/// Prints the script of a shell.
pub(super) fn completions(given: &[OsString], matches: &ArgMatches) -> Result<i32> {
    let shell = *matches.get_one::<Shell>("shell").ok_or_else(|| Error::usage("which shell?"))?;
    let pipelines = pipelines()?;
    let mut command = args::command(given, &pipelines);
    for pipeline in &pipelines {
        let ends = |names: Vec<String>| names.into_iter().map(|n| format!("{n}=")).collect::<Vec<_>>();
        let sources = ends(pipeline.sources.iter().map(|(n, _, _)| (*n).to_owned()).collect());
        let sinks = ends(bind::sample(pipeline).map(|job| job.sink_names()).unwrap_or_default());
        for verb in ["run", "explain"] {
            for (option, names) in [("source", &sources), ("sink", &sinks)] {
                if !names.is_empty() && (verb, option) != ("explain", "sink") {
                    let values = PossibleValuesParser::new(names.clone());
                    command = command
                        .mut_subcommand(verb, |c| c.mut_subcommand(pipeline.name, |c| c.mut_arg(option, |a| a.value_parser(values))));
                }
            }
        }
    }
    let name = command.get_name().to_owned();
    let mut out = Vec::new();
    generate(shell, &mut command, &name, &mut out);
    let mut text = String::from_utf8(out).map_err(|_| Error::internal("the completion script is not text"))?;
    if shell == Shell::Bash {
        text.push_str(&unspaced(&text, &name));
    }
    print(&text)
}

/// In bash, no space behind a name that still needs a value: `--source flights=`.
fn unspaced(script: &str, name: &str) -> String {
    let function = script.split("complete -F ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    format!(
        "\n{function}__ends() {{\n    {function} \"$@\"\n    [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2> /dev/null\n    return 0\n}}\n\
         complete -F {function}__ends -o bashdefault -o default {name}\n"
    )
}
