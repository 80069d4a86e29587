"""How bash completes: it splits a line at every `=`, and files are offered beside the words of a policy."""

import os

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

SCRIPT = """\
%(complete_func)s() {
    local IFS=$'\\n'
    local response completion type value

    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete $1)

    for completion in $response; do
        IFS=',' read type value <<< "$completion"

        if [[ $type == 'dir' ]]; then
            COMPREPLY=()
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            compopt -o filenames
            COMPREPLY+=($(compgen -f -- "$value"))
        elif [[ $type == 'plain' ]]; then
            [[ $value == *= ]] && compopt -o nospace
            COMPREPLY+=($value)
        fi
    done

    return 0
}

%(complete_func)s_setup() {
    complete -o nosort -F %(complete_func)s %(prog_name)s
}

%(complete_func)s_setup;
"""


class Bash(BashComplete):
    """Bash, with ``--policy=hotel`` and ``--fact name=value`` read as the one word they are."""

    source_template = SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        words, at = split_arg_string(os.environ["COMP_WORDS"]), int(os.environ["COMP_CWORD"])
        split = [*words[1 : at + 1], *([""] if at >= len(words) else [])]
        joined: list[str] = []
        for before, word in zip(["", *split], split, strict=False):
            if joined and "=" in (before, word):
                joined[-1] += word
            else:
                joined.append(word)
        self._typed = joined[-1].rpartition("=") if split[-1:] != joined[-1:] else ("", "", "")
        return joined[:-1], joined[-1] if joined else ""

    def format_completion(self, item: CompletionItem) -> str:
        """Only what follows the last `=` is replaced where bash has split the word there."""
        name, sign, _ = self._typed
        return f"{item.type},{str(item.value).removeprefix(name + sign)}"


def use() -> None:
    """Complete in bash with these."""
    add_completion_class(Bash)
