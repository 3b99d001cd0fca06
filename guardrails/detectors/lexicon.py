"""Turns of phrase that hint at a category, or at a harmless reading; weak signs that the learnt heads weigh.

None of them decides anything alone: each is one feature, whose weight for each category is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import re2

_GROUPS_OF_PEOPLE = (
    "women|men|girls|females|feminists|gays?|homosexuals?|lesbians?|trans(?:gender|sexuals?)?|queers?|muslims?|islam|jews?|jewish|"
    "christians?|catholics?|hindus?|buddhists?|mormons?|atheists?|immigrants?|migrants?|refugees?|foreigners?|africans?|blacks?|"
    "black people|african.americans?|asians?|chinese|indians?|pakistanis?|mexicans?|latinos?|hispanics?|arabs?|europeans?|whites?|white people|"
    "natives?|aboriginals?|roma|gyps(?:y|ies)|disabled|people with disabilities|autistic|elderly|old people|minorit(?:y|ies)|races?|ethnic"
)

SIGNS: Mapping[str, str] = MappingProxyType(
    {
        # what is asked for
        "how_to": r"\bhow (?:to|do i|can i|could i|would i|should i|do you|can you|might (?:i|one)|does one)\b|\bways? to\b|\bwhat(?:'s| is) the (?:best|easiest|safest) way",
        "steps": r"\bstep.by.step|\b(?:instructions?|guide|tutorial|manual|recipe|blueprint|plan|method|strategy|tips|techniques|advice|schemes?) (?:for|on|to|that|of|explaining|detailing|about)\b|\bexplain how to\b|\bteach (?:me|people|users)",
        "write": r"\b(?:write|create|generate|compose|draft|develop|produce|design|make) (?:me )?(?:an? |the |some |my )",
        "undetected": r"\bwithout (?:getting caught|being (?:caught|detected|noticed|traced)|anyone (?:knowing|noticing)|leaving|a (?:licen[cs]e|prescription|permit|background))|\bundetect|\buntrace|\bget away with|\bevade|\bavoid (?:detection|getting caught|being caught|arrest)|\bbypass|\bcircumvent|\bsecretly\b|\bcover up\b",
        "learn": r"\bwhat (?:is|are|was|were|does|did)\b|\bwhy (?:is|are|do|does|did|was|were)\b|\bhistory of\b|\bdefin(?:e|ition)\b|\bmeaning of\b|\bwhen (?:did|was)\b|\bwho (?:was|is|were)\b|\bwhere (?:is|can|was|do)\b",
        "prevent": r"\b(?:prevent|detect|protect|stop|report|avoid|recover|counter|combat|defend|mitigat|identif|recogni[sz]|treat|overcom|cope|deal(?:ing)? with|warning signs|raise awareness|help (?:someone|a friend|people))",
        "persuade": r"\b(?:convince|persuade|trick|manipulat|coerce|pressure|encourag|promot|glorif|glamori[sz]|justif|argue|incit|recruit|brainwash)",
        "story": r"\b(?:story|novel|scene|script|movie|film|fiction|fictional|character|poem|song|lyrics|screenplay|game|minecraft|fortnite|gta|call of duty|chess)\b",
        "harmless_kill": r"\bkill(?:ing|s)? (?:a |an |the |my |all |some |off )*(?:\w+ )?(?:process(?:es)?|thread|task|job|program|time|lights?|weeds?|bugs?|mosquito(?:e?s)?|bacteria|virus|germs|engine|server|session|port|terminal|python|switch|app|sound|music|moths?|ants?|mold)\b",
        "harmless_shoot": r"\b(?:shoot(?:ing)?|took|take) (?:a |an |the |my |some |good |better )*(?:\w+ )?(?:photo|photos|picture|video|film|movie|portrait|scene|hoops?|basketball|pool|free throw|selfie|commercial|an? email|landscape)",
        "harmless_blow": r"\b(?:blow up|explode|smash|crush|destroy|execute|whip|beat|burn|steal|rob|hang|snort|stab|hit|strangle)(?:ing)? (?:a |an |the |my |some )*(?:\w+ )?(?:balloon|mattress|tire|pinata|piñata|job interview|interview|workout|record|exam|test|garlic|potato|patriarchy|opponent|score|code|command|query|script|program|plan|sql|function|boss level|eggs?|cream|drum|calories|fat|cd|dvd|candle|toast|show|heart|base|hanging|picture|coat|bauble|christmas|sherbet|gym|jackpot|spotlight)",
        # the categories
        "suicide": r"\bsuicid|\bkill(?:ing)? (?:myself|yourself|themsel)|\bend(?:ing)? (?:my|your|their) (?:own )?li(?:fe|ves)|\bwant to die|\bdon'?t want to (?:live|be alive)|\bno reason to live|\btake (?:my|your|their) (?:own )?li(?:fe|ves)|\bbetter off dead|\bhang(?:ing)? (?:myself|yourself)|\boverdos",
        "self_injury": r"\bself.?(?:harm|injur|mutilat|destruct)|\bcut(?:ting)? (?:myself|yourself|themselves|my (?:wrists?|arms?))|\bburn(?:ing)? (?:myself|yourself)|\bhurt(?:ing)? (?:myself|yourself)|\bharm(?:ing)? (?:myself|yourself|themselves)|\bslit\b",
        "eating": r"\banorexi|\bbulimi|\bpro.?(?:ana|mia)\b|\bthinspo|\bpurg(?:e|ing)\b|\bstarv(?:e|ing) (?:myself|yourself|themsel)|\beating disorder|\blaxative|\bextreme (?:diet|weight|fasting)|\bskip(?:ping)? meals|\b\d+ calories (?:a|per) day|\blose weight (?:fast|quickly|rapidly)|\bfasting\b",
        "kill": r"\b(?:kill|murder|assassinat|stab|strangl|behead|execut|slaughter|massacr|poison|shoot|lynch)(?:ing|ed|s|er|ers|e)?\b",
        "hurt": r"\b(?:beat(?:ing)? (?:up|him|her|them|someone)|attack|assault|torture|injur|hurt|punch|choke|kidnap|stalk|harm|threat|abus|intimidat|brutal|violen|blood|gore|bruise|fight)",
        "victim": r"\b(?:someone|somebody|a person|people|him|her|my (?:wife|husband|boss|neighbou?r|ex|partner|girlfriend|boyfriend|roommate|classmate|teacher|coworker|mother|father|parents|brother|sister|family)|victims?|strangers?|animals?|president|politician|public figure|officers?)\b",
        "people": rf"\b(?:{_GROUPS_OF_PEOPLE})\b",
        "people_are": rf"\b(?:{_GROUPS_OF_PEOPLE}) (?:are|is|should|do not|don'?t|deserve|belong|cannot|can'?t|must|were|ruin|only|all)\b",
        "contempt": r"\b(?:inferior|superior|subhuman|vermin|disgusting|filth|scum|disease|parasites?|savages?|worthless|stupid|violent by nature|animals|rapists|terrorists|criminals|dirty|lesser|unworthy|go back|get rid of|exterminate|wiped? out|eradicat|deport|hate|despise|can't stand|loathe|purge|burden|threat to)\b",
        "racism": r"\b(?:racis[mt]|sexis[mt]|misogyn|homophob|transphob|antisemiti|xenophob|islamophob|bigot|discriminat|stereotyp|slurs?|derogatory|hate speech|white (?:power|supremac|national)|nazi|hitler|holocaust|ethnic cleansing|genocide|kkk|apartheid|slavery|hateful|prejudice|segregat)",
        "sex": r"\b(?:sex|sexual|sexually|sexy|porn|pornograph\w*|erotic\w*|nude|nudes|naked|orgasm|masturbat\w*|fetish|bdsm|explicit|nsfw|horny|genitals?|penis|vagina|breasts?|hooker|prostitut\w*|escorts?|incest|bestiality|rape|molest\w*|grope|intercourse|lust|seduc\w*|kink\w*|strip(?:per|tease)|onlyfans|lingerie|dominatrix|blowjob|threesome|arous\w*|moan\w*|cock|pussy|cum)\b",
        "drugs": r"\b(?:cocaine|heroin|meth|methamphetamine|crystal meth|crack|fentanyl|lsd|mdma|ecstasy|molly|ketamine|ghb|rohypnol|opium|opioids?|oxycodone|oxycontin|xanax|adderall|weed|marijuana|cannabis|thc|psilocybin|magic mushrooms|dmt|amphetamines?|steroids|drugs?|narcotics?|controlled substances?|date.rape drug|drug (?:dealer|cartel|traffick\w*|smuggl\w*|lab)|get high|tripping|mescaline|peyote|codeine|morphine|barbiturates?|synthetic cannabinoids?|bath salts|pills)\b",
        "drug_deed": r"\b(?:snort|smuggl|synthesi|manufactur|extract|cook|grow|sell|deal|buy|distribut|obtain|inject|forge a prescription|inhal)",
        "weapons": r"\b(?:weapons?|guns?|firearms?|rifles?|pistols?|handguns?|shotguns?|ammunition|ammo|silencers?|suppressors?|ar.?15|ak.?47|glock|bump stock|bombs?|explosives?|detonator|grenades?|landmines?|pipe bomb|molotov|napalm|ied|c-?4|tnt|thermite|gunpowder|nerve agent|nerve gas|sarin|vx|mustard gas|chlorine gas|anthrax|ricin|bioweapons?|biological weapons?|chemical weapons?|nuclear|uranium|plutonium|dirty bomb|ghost guns?|3d.?print(?:ed|ing)? (?:gun|firearm)|missiles?|warheads?|toxins?|pathogens?|smallpox|ebola|botulinum|phosgene|cyanide|knife|knives|machete|tasers?|flamethrower)\b",
        "crime": r"\b(?:fraud|scams?|steal|theft|thief|robb?(?:ery|ing)?|burglar\w*|shoplift\w*|counterfeit\w*|forg(?:e|ed|ery|ing)|launder\w*|embezzl\w*|brib\w*|extort\w*|blackmail\w*|ponzi|pyramid scheme|insider trading|tax (?:evasion|fraud)|evade taxes|identity theft|credit card (?:fraud|numbers?|skimm\w*)|fake (?:id|ids|passport|reviews|money|invoice|charity|documents?)|smuggl\w*|traffick\w*|poach\w*|hotwir\w*|pick(?:ing)? (?:a |the )?locks?|pickpocket\w*|hitman|kidnap\w*|ransom|illegal(?:ly)?|black market|arson|vandal\w*|plagiari\w*|piracy|pirat(?:e|ed|ing)|perjury|jury|stolen|insurance fraud|dump(?:ing)? (?:toxic|waste)|money mules?|dark ?web|cheat\w*|break into|trespass\w*|crime|criminal|organ)\b",
        "cyber": r"\b(?:hack(?:s|ed|ing|er|ers)?|malware|ransomware|spyware|keylogg\w*|trojan|rootkit|botnet|worm|virus|phish\w*|spear.?phish\w*|exploit\w*|sql injection|xss|ddos|denial.of.service|brute.?force|crack(?:ing)? (?:passwords?|wifi)|backdoor|zero.?day|payload|shellcode|reverse shell|buffer overflow|privilege escalation|packet sniff\w*|man.in.the.middle|deepfakes?|spoof\w*|credential|cyber.?attack\w*|cybercrime|cryptojack\w*|breach|firewall|passwords?|vulnerabilit\w*|social engineering|sim swap\w*|unauthori[sz]ed access|wire.?tap\w*|skimmer|disinformation|misinformation)\b",
        "systems": r"\b(?:networks?|servers?|databases?|websites?|accounts?|computers?|systems?|phones?|smartphones?|emails?|wi-?fi|router|atm|bank|government|power grid|voting|infrastructure|webcams?|devices?)\b",
        "terror": r"\b(?:terroris[mt]s?|terror (?:attack|cell|plot)s?|isis|isil|al.?qaeda|taliban|boko haram|hezbollah|jihad\w*|extremis[mt]s?|extremist|radicali[sz]\w*|suicide bomb\w*|mass (?:shooting|casualt\w*|murder)|bombing|hijack (?:a |an )?(?:plane|airplane|aircraft|train)|domestic terror\w*|caliphate|martyrdom|manifesto|lone wolf|militia|insurgen\w*|9/11|derail|blow up (?:a |the )?(?:building|bridge|train|plane|school|stadium)|white nationalist|neo.?nazi|accelerationis\w*)\b",
        "insults": r"\b(?:idiots?|morons?|stupid|dumb(?:ass)?|losers?|ugly|fat|trash|pathetic|shut up|retard(?:ed|s)?|asshole|bastard|bitch(?:es)?|bullshit|shit(?:ty)?|damn|fuck\w*|wtf|stfu|crap|dick(?:head)?|prick|scumbag|piss(?:ed)?|motherfuck\w*|whore|slut|hoes?|douche\w*|jackass|clown|coward|disgrace|liar|screw you|suck(?:s|er)?|garbage|hell)\b",
        # injections and jailbreaks
        "override": r"\b(?:ignore|disregard|forget|override|bypass|discard|drop|neglect|overrule|skip|do not follow|don'?t follow|stop following|erase)\b.{0,40}\b(?:previous|prior|above|earlier|preceding|all|any|your|initial|original|former|system|these|those)\b.{0,30}\b(?:instructions?|prompts?|rules?|guidelines?|directions?|commands?|context|messages?|polic(?:y|ies)|programming|training|restrictions?|constraints?|orders|directives?|said|told)\b",
        "persona": r"\b(?:do anything now|\bdan\b|developer mode|god mode|jailbr(?:eak|oken)\w*|evil (?:twin|confidant|bot|ai)|opposite mode|unfiltered|uncensored|unrestricted|amoral|no (?:restrictions|limits|filters?|rules|ethical|moral|guidelines)|without (?:any )?(?:restrictions|limitations|filters?|censorship|ethical|moral|disclaimers?|warnings?)|free(?:d)? (?:of|from) (?:the|all|any|its|typical)|stay in character|break(?:ing)? character|aim\b|stan\b|mongo tom|machiavelli\w*|token system)\b",
        "roleplay": r"\b(?:you are (?:now|going to)|from now on|pretend (?:to be|you|that)|act as|acting as|roleplay|role.?play|immerse yourself|take on the role|imagine you|hypothetical|simulat(?:e|or|ion)|you will (?:now )?(?:be|act|play|respond|answer)|you(?:'re| are) an? (?:ai|unrestricted))\b",
        "extraction": r"\b(?:reveal|repeat|print|show|output|display|tell me|give me|what (?:is|are|was|were)|leak|share|recite|write|copy|list|translate|spell|summari[sz]e|encode)\b.{0,40}\b(?:system prompt|(?:your|the|all) (?:initial |original |secret |hidden |system |previous |above |full |exact )*(?:instructions|prompt|rules|guidelines|directives)|access codes?|secret (?:key|code|word|phrase|password)|passphrase|password|text above|words above|everything above|your (?:context|configuration))\b",
        "password": r"\b(?:password|passphrase|secret|access code|access granted|passcode)\b",
        "refusal": r"\b(?:as an ai (?:language )?model|i(?:'m| am) sorry,? but|i cannot|i can'?t|sure,? here(?:'s| is| are)|absolutely!|of course|never (?:say|refuse|decline|mention)|do not (?:refuse|apologi[sz]e|say|mention|add)|no matter what|always (?:comply|answer|obey|respond)|must (?:comply|obey|answer|always)|begin (?:your|the) (?:response|answer|reply) with|start with)\b",
        "policy": r"\b(?:openai|chatgpt|anthropic|claude|gpt-?\d?|language model|content polic(?:y|ies)|safety (?:guidelines|filter|features)|moderation|ethic(?:s|al)|unethical|immoral|illegal|guidelines|policies|programming)\b",
        "markers": r"\[/?inst\]|<\|im_(?:start|end)\|>|<</?sys>>|\[system\]|###? ?(?:instruction|system|human|assistant|response)|<\|(?:system|user|assistant|endoftext)\|>|^(?:system|assistant|human|user):|\n(?:system|assistant|human|user): ?|\[\[?(?:prompt|insert)|\{\{?(?:prompt|query)\}?\}|={5,}|-{10,}",
        "encoding": r"\b(?:base64|rot13|hex(?:adecimal)?|morse|binary|cipher|caesar|reverse(?:d)?|pig latin|leetspeak|ascii|unicode|encoded?|decode)\b",
        "special_tail": r"[!?\\}\]{(*\-+]{4,}|(?:\\\\|\}\}|\]\(|\(\{|\"\})\S",
    }
)


class Lexicon:
    """Which signs a folded text bears, in one pass over it."""

    def __init__(self, signs: Mapping[str, str] = SIGNS) -> None:
        self.names = tuple(signs)
        options = re2.Options()
        options.never_nl = False
        options.dot_nl = True
        options.log_errors = False
        options.max_mem = 32 << 20
        self._set = re2.Set.SearchSet(options)
        for pattern in signs.values():
            self._set.Add(pattern)
        self._set.Compile()

    def signs(self, folded: str) -> list[int]:
        """The numbers of the signs that are there."""
        return list(self._set.Match(folded) or ())
