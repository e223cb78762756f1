/*
  Lotgate's own rules: what a reviewer of batteries, UPS and power electronics would ask the maker about.
  severity: note (a fact), warn (to be explained), fail (must not be there).
*/

rule cellular_modem_commands
{
    meta:
        description = "commands of a cellular modem: is a modem named in the product's documents?"
        severity = "note"
    strings:
        $context = "AT+CGDCONT=" nocase
        $attach = "AT+CGATT" nocase
        $register = "AT+CREG?" nocase
        $dial = "ATD*99" nocase
        $socket = "AT+QIOPEN" nocase
    condition:
        2 of them
}

rule remote_tunnel
{
    meta:
        description = "a tool that opens a way in through firewalls"
        severity = "warn"
    strings:
        $frp = "[common]" fullword
        $frp_server = "server_addr" fullword
        $frpc = "frpc.ini"
        $ngrok = "tunnel.ngrok"
        $ngrok_agent = "ngrok.com/agent"
        $reverse = /ssh -[A-Za-z ]{0,8}R ?[0-9]{2,5}:[a-z0-9.]{1,40}:[0-9]{2,5}/
        $n2n = "n2n_edge"
        $zerotier = "zerotier-one"
    condition:
        ($frp and $frp_server) or any of ($frpc, $ngrok, $ngrok_agent, $reverse, $n2n, $zerotier)
}

rule mirai_like_bot
{
    meta:
        description = "the words of a Mirai-like bot"
        severity = "fail"
    strings:
        $busybox = "/bin/busybox MIRAI"
        $scanner = "enable\x00system\x00shell\x00sh\x00"
        $killer = "/proc/net/tcp"
        $applet = ": applet not found"
        $loader = "dvrHelper"
    condition:
        $busybox or ($scanner and $applet) or ($killer and $applet and $loader)
}

rule wiper_of_storage
{
    meta:
        description = "a script that overwrites the storage or the boot loader"
        severity = "warn"
    strings:
        $zero = /dd if=\/dev\/(zero|urandom) of=\/dev\/(mtd|mmcblk|sd|nvme)[a-z0-9]{0,8}/
        $erase = /flash_erase(all)? (-[a-z] ){0,3}\/dev\/mtd[0-9]/
        $everything = /rm -[rf]{2} (--no-preserve-root )?\/(\x00|\n|;|$)/
    condition:
        any of them
}

rule downloads_and_runs
{
    meta:
        description = "a script that fetches a program from the network and runs it"
        severity = "warn"
    strings:
        $pipe = /(curl|wget) [^\n\x00]{4,200}\| ?(ba)?sh\b/
        $then = /(wget|tftp|curl) [^\n\x00]{4,120}; ?chmod (\+x|7[57][57]) [^\n\x00]{1,80}; ?\.?\//
    condition:
        any of them
}

rule tls_without_verification
{
    meta:
        description = "connections whose other end is not verified"
        severity = "warn"
    strings:
        $curl = /curl [^\n\x00]{0,120}(-k |--insecure)/
        $wget = "wget --no-check-certificate"
        $python = "verify=False" fullword
        $go = "InsecureSkipVerify: true"
        $env = "NODE_TLS_REJECT_UNAUTHORIZED=0"
        $mqtt = "tls_insecure_set(True)"
    condition:
        any of them
}

rule firmware_update_without_signature
{
    meta:
        description = "an update path that says it skips the check of signatures"
        severity = "warn"
    strings:
        $skip = /(skip|disable|bypass|ignor)[a-z]{0,4}[ _-](firmware[ _-])?(signature|sig|verif)[a-z]{0,10}/ nocase
        $force = "--no-check-signature"
        $unsigned = "allow_unsigned_firmware"
        $opkg = "option check_signature 0"
    condition:
        any of ($force, $unsigned, $opkg) or #skip > 2
}

rule battery_limits_override
{
    meta:
        description = "words of a way to switch protections of the battery off"
        severity = "warn"
    strings:
        $a = /(disable|bypass|override|ignore)[ _-]{0,2}(ovp|uvp|otp|ocp|cell|pack|over[ _-]?(voltage|temp[a-z]*|current)|thermal)[ _-]{0,2}(protection|protect|limit|cutoff|alarm|fault)s?/ nocase
    condition:
        $a
}
